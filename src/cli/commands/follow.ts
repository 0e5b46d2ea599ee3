/** `lockstep follow`: a warm standby, fed from a stream. */
import { parseArgs } from "node:util";
import { LockstepError } from "../../errors.ts";
import { type FollowStatus, follow } from "../../standby/follow.ts";
import { errorJson, type Io, UsageError } from "../io.ts";
import { stageBar } from "../stage-bar.ts";
import { openNamed } from "../streams.ts";

export const usage = `Usage: lockstep follow [--once] [--force] [--keys SOURCE] [--json] STREAM DEST

Follows STREAM, nats://host/name or archive:/path, with a copy at DEST, until SIGTERM or SIGINT. DEST is an
ordinary SQLite database at every instant, at the end of a transaction, and any program may read it
meanwhile. Where there is none it is made from the newest snapshot; else it goes on from where it stands.
To make it the primary: lockstep promote.

  --once         go on to what is the stream's end now, and end
  --force        set DEST aside under a dated name if it cannot go on, and make it anew
  --keys SOURCE  the keys that the stream is sealed with: a file of lines NUMBER:KEY, or env:NAME
  --json         one object a line: {"event": "in-step" | "status" | "stopped", "at", "stream", "dest",
                 "position": string, "message", "lagMs": number, "behind": number | null}, "stopped" also with
                 {"databaseId", "timeline": number, "setAside": string | null}; or {"error": {…}}
                 (message: the last one read; behind: how many more there are, null: not known, the stream
                 was silent for more than 5 s; lagMs: how long after the stream took it readers saw
                 the last commit, by the clocks of both)

Exit status: 0 stopped, or in step with --once; 1 failed or refused; 2 wrong usage.

Examples:
  lockstep follow archive:/mnt/nas/app /var/lib/app/standby.db
  lockstep follow --once archive:/mnt/nas/app /tmp/now.db`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...{ once: { type: "boolean" }, force: { type: "boolean" }, json: { type: "boolean" } },
      keys: { type: "string" },
    },
  });
  const [stream, dest] = positionals;
  if (stream === undefined || dest === undefined || positionals.length > 2) {
    throw new UsageError("follow takes a stream and a path.");
  }
  const { once = false, force = false, json = false } = values;
  const stopped = new AbortController();
  const stop = (): void => stopped.abort();
  // Once: who asks a second time does not want to wait.
  for (const signal of SIGNALS) process.once(signal, stop);
  const say = (event: string, facts: object, line: string): void => {
    if (json) io.line({ event, at: new Date().toISOString(), ...facts });
    else if (event === "status") io.status(line);
    else io.note(line);
  };
  try {
    const { log, keys } = await openNamed(stream, values.keys, stopped.signal);
    try {
      const followed = await follow(log, dest, {
        ...{ keys, once, force, signal: stopped.signal },
        onProgress: json ? () => {} : stageBar(io),
        onInStep: (status) => say("in-step", status, `in step: ${dest} at ${status.position}`),
        onStatus: seldom(io, (status) => say("status", status, statusLine(status))),
      });
      if (followed.setAside !== null && !json) io.note(`set aside: ${followed.setAside}`);
      say("stopped", followed, `stopped at ${followed.position}`);
      return 0;
    } finally {
      await log.close();
    }
  } catch (error) {
    if (stopped.signal.aborted && !(error instanceof LockstepError)) {
      io.note("stopped before the copy was in step");
      return once ? 1 : 0;
    }
    if (!json || error instanceof UsageError) throw error;
    io.line(errorJson(error));
    return 1;
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop);
  }
}

// --- internal ---

const SIGNALS = ["SIGTERM", "SIGINT"] as const;
/** How often the status is told, in milliseconds: on a terminal, and elsewhere. */
const TERMINAL_MS = 1000;
const LINES_MS = 10_000;

function statusLine({ position, behind, lagMs, message }: FollowStatus): string {
  return `${standing(behind)} · message ${message} · last commit here after ${lagMs} ms · ${position}`;
}

function standing(behind: number | null): string {
  if (behind === null) return "the stream is silent: how far behind is not known";
  return behind === 0 ? "in step" : `${behind} messages behind`;
}

function seldom(io: Io, tell: (status: FollowStatus) => void): (status: FollowStatus) => void {
  let told = Number.NEGATIVE_INFINITY;
  return (status) => {
    const now = performance.now();
    if (now - told < (io.isTerminal ? TERMINAL_MS : LINES_MS)) return;
    told = now;
    tell(status);
  };
}
