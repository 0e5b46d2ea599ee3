/** `lockstep replicate`: follows a database that other programs write. */
import { once } from "node:events";
import { LockstepError } from "../../errors.ts";
import type { ReplicaStatus } from "../../observe.ts";
import { type Progress, type ReplicationOptions, readOptions, wrongWith } from "../../options.ts";
import {
  type Follower,
  type FollowerStatus,
  type ReplicateOptions,
  replicate,
  wrongWithHold,
} from "../../replicate.ts";
import { assertFiles, copiesFrom } from "../copies.ts";
import { bytes, errorJson, type Io, UsageError } from "../io.ts";
import { closeAll, LISTEN_OPTIONS, listenOn } from "../listen.ts";
import { notify, type ServiceState } from "../notify.ts";
import { readSettings, type Settings } from "../settings.ts";
import { speedometer } from "../speed.ts";

export const usage = `Usage: lockstep replicate [OPTIONS] PRIMARY REPLICA…
       lockstep replicate [OPTIONS] sqlite3://PRIMARY:REPLICA…

Follows PRIMARY, which other programs write in whatever language: brings the replicas in step, then
mirrors each commit to all of them as it comes, milliseconds behind, until SIGTERM or SIGINT. The
others are held up no longer than by another program that writes as well. A replica that is missing
is made. PRIMARY must be in WAL mode; its mode is not changed.

  --once                      bring the replicas in step, and end
  --on-replica-failure WHAT   "stop" (default): end with its error; "degrade": go on without it, and
                              bring it back
  --min-copies N              with "degrade": end when fewer are left, PRIMARY counted (default 2)
  --replica-timeout MS        how long a replica may show no progress (default 60000)
  --checkpoint-bytes N        the size of the log from which it is folded into the file (8388608)
  --hold-log-ms MS            for how long a second process keeps the log as it is when this one was killed: a
                              start meanwhile reads no file whole (default 30000; 0: there is none)
  --open-transaction-ms MS    warn of a transaction that is open for so long (default 60000; 0: never)
  --low-space-bytes N         warn when so little is left on a disk (default a twentieth of the file
                              system, 1 GiB at most; 0: never)
  --listen ADDRESS            answer there, on a unix socket's path or 127.0.0.1:PORT: POST /durable waits
                              until every copy has what was committed; /metrics, /healthz, a page at /
  --allow-remote              let ADDRESS be one that other machines reach: without any protection
  --config FILE               a file of these options, a line each: NAME = VALUE, without the dashes,
                              PRIMARY and REPLICA as primary and replica; so are environment variables,
                              LOCKSTEP_ before the name in capitals. An option counts before a
                              variable, that before the file
  --json                      one object a line: {"event": "in-step" | "listening" | "status" | "degraded" |
                              "rejoined" | "rot" | "healed" | "warning" | "warning-over" | "stopped", …}, or in the end {"error": {…}}

Exit status: 0 stopped, or in step with --once; 1 failed or refused; 2 wrong usage.

Examples:
  lockstep replicate /var/lib/app/app.db /mnt/usb/app.db
  lockstep replicate --listen /run/app/lockstep.sock app.db /mnt/usb/app.db
  lockstep replicate --config /etc/lockstep/app.conf
  lockstep replicate --once app.db /mnt/usb/app.db     # for cron`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const settings = readSettings(args, OPTIONS, ["primary", "replica"]);
  const named = [...settings.all("primary"), ...settings.all("replica")];
  const { primary, replicas, options: inDsn } = copiesFrom(named);
  assertFiles("replicate", [primary, ...replicas]);
  if (primary === undefined || replicas.length === 0) {
    throw new UsageError("replicate takes a primary and at least one replica.");
  }
  if (inDsn.restoreMissing) {
    throw new UsageError(
      "restoreMissing is for the program that writes: lockstep restore does it.",
    );
  }
  const options = {
    ...pick(inDsn),
    ...given(settings, "onReplicaFailure", String),
    ...given(settings, "minCopies", number),
    ...given(settings, "replicaTimeout", number),
    ...given(settings, "checkpointBytes", number),
    ...given(settings, "openTransactionMs", number),
    ...given(settings, "lowSpaceBytes", number),
    ...holdLogMs(settings),
  } as ReplicateOptions;
  readOptions({ ...options, replicas }, {}); // what is wrong with them together is wrong use, too
  const wishes = {
    once: settings.is("once"),
    json: settings.is("json"),
    listen: settings.all("listen"),
    allowRemote: settings.is("allow-remote"),
  };
  if (wishes.once && wishes.listen.length > 0) {
    throw new UsageError("--once ends at once: it cannot --listen.");
  }
  if (wishes.once) Object.assign(options, { holdLogMs: 0 }); // what ends at once is not killed
  return follow(primary, replicas, { ...options, ...wishes }, io);
}

// --- internal ---

const OPTIONS = {
  ...LISTEN_OPTIONS,
  once: { type: "boolean" },
  json: { type: "boolean" },
  "on-replica-failure": { type: "string" },
  "min-copies": { type: "string" },
  "replica-timeout": { type: "string" },
  "checkpoint-bytes": { type: "string" },
  "hold-log-ms": { type: "string" },
  "open-transaction-ms": { type: "string" },
  "low-space-bytes": { type: "string" },
} as const;

/** How often the status is told, in milliseconds: on a terminal, and elsewhere. */
const TERMINAL_MS = 1000;
const LINES_MS = 10_000;

type Wishes = ReplicateOptions & {
  readonly once: boolean;
  readonly json: boolean;
  readonly listen: readonly string[];
  readonly allowRemote: boolean;
};

async function follow(
  primary: string,
  replicas: readonly string[],
  { once: isOnce, json, listen, allowRemote, ...options }: Wishes,
  io: Io,
): Promise<0 | 1> {
  const say = speaker(json, io);
  const stopped = new AbortController();
  const stop = (): void => stopped.abort();
  // Once: who asks a second time does not want to wait.
  for (const signal of SIGNALS) process.once(signal, stop);
  try {
    const { signal } = stopped;
    const bar = json ? null : progressBar(io);
    const work = new Set<Progress["phase"]>();
    const onProgress = (progress: Progress): void => {
      work.add(progress.phase);
      bar?.(progress);
    };
    const follower = await replicate(primary, replicas, { ...options, signal, onProgress });
    say("in-step", { ...inStep(follower.status), work: [...work] });
    try {
      const open = await listenOn(follower.replication, listen, allowRemote);
      for (const { address } of open) say("listening", { address });
      try {
        await tellService(io, "READY=1");
        if (!isOnce) await untilStopped(follower, say, signal, io);
        await tellService(io, "STOPPING=1");
      } finally {
        await closeAll(open); // before the copies are let go: nobody is answered for what comes then
      }
    } finally {
      await follower.stop();
    }
    say("stopped", { position: follower.replication.status.primary.position });
    return 0;
  } catch (error) {
    if (stopped.signal.aborted && !(error instanceof LockstepError)) {
      say("stopped", { position: null }); // before the copies were in step
      return isOnce ? 1 : 0;
    }
    if (!json) throw error;
    io.line(errorJson(error));
    return 1;
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop);
  }
}

const SIGNALS = ["SIGTERM", "SIGINT"] as const;

type Facts = Readonly<Record<string, unknown>>;
type Say = (event: string, facts: Facts) => void;

/** @throws LockstepError what ended it */
async function untilStopped(
  follower: Follower,
  say: Say,
  signal: AbortSignal,
  io: Io,
): Promise<void> {
  const { replication } = follower;
  replication.on("degraded", (path, error) => say("degraded", { path, because: error.message }));
  replication.on("rejoined", (path) => say("rejoined", { path }));
  replication.on("rot", ({ copy, page, owner }) => say("rot", { copy, page, owner }));
  replication.on("healed", (page) => say("healed", { ...page }));
  replication.on("warning", (warning) => say("warning", { ...warning }));
  replication.on("warning-over", (warning) => say("warning-over", { ...warning }));
  for (const warning of replication.status.warnings) say("warning", { ...warning });
  let before = { commits: follower.status.commits, at: performance.now() };
  const tell = (): void => {
    const { commits, ...status } = follower.status;
    const at = performance.now();
    const perSecond = Math.round(((commits - before.commits) * 1000) / (at - before.at));
    before = { commits, at };
    say("status", factsOf({ commits, ...status }, perSecond));
  };
  const timer = setInterval(tell, io.isTerminal ? TERMINAL_MS : LINES_MS);
  try {
    const isOver = signal.aborted ? Promise.resolve() : once(signal, "abort");
    await Promise.race([isOver, follower.ended]);
  } finally {
    clearInterval(timer);
  }
}

function inStep({ primary, replicas, deputy }: FollowerStatus): Facts {
  const copies = replicas.map(({ path, state, position }) => ({ path, state, position }));
  return { primary: primary.path, position: primary.position, replicas: copies, deputy };
}

function factsOf(status: FollowerStatus, commitsPerSecond: number): Facts & Told {
  const { lagMs, lastLagMs, worstLagMs, commits, primary, replicas } = status;
  return {
    ...inStep(status),
    replicas: replicas.map(({ path, state, position, lag }) => ({ path, state, position, lag })),
    ...{ lagMs, lastLagMs, worstLagMs, commits, commitsPerSecond, logBytes: primary.logBytes },
  };
}

/** Tells people in words, or programs one object a line. */
function speaker(json: boolean, io: Io): Say {
  return (event, what) => {
    if (json) io.line({ event, at: new Date().toISOString(), ...what });
    else if (event === "status") io.status(statusLine(what as Facts & Told));
    else io.note(sentence(event, what));
  };
}

interface Told {
  readonly replicas: readonly Pick<ReplicaStatus, "path" | "state" | "position" | "lag">[];
  readonly lagMs: number;
  readonly worstLagMs: number;
  readonly commitsPerSecond: number;
  readonly logBytes: number;
}

function statusLine({ replicas, lagMs, worstLagMs, commitsPerSecond, logBytes }: Told): string {
  const whole = replicas.filter(({ state }) => state === "mirroring").length;
  const frames = Math.max(0, ...replicas.map(({ lag }) => lag));
  const lag = Math.max(lagMs, worstLagMs).toFixed(0);
  return `${whole} of ${replicas.length} in step · lag ${lag} ms, ${frames} frames · ${commitsPerSecond} commits/s · log ${bytes(logBytes)}`;
}

function sentence(event: string, what: Facts): string {
  switch (event) {
    case "in-step":
      return `in step: ${what["primary"]} at ${what["position"]}`;
    case "listening":
      return `listening on ${what["address"]}`;
    case "degraded":
      return `going on without ${what["path"]}: ${what["because"]}`;
    case "rejoined":
      return `in step again: ${what["path"]}`;
    case "rot":
      return `page ${what["page"]} of ${what["copy"]} has rotted: lockstep scrub heals it`;
    case "healed":
      return `page ${what["page"]} of ${what["copy"]} is as it should be again`;
    case "warning":
      return `warning: ${what["what"]}. ${what["next"]}`;
    case "warning-over":
      return `no more so: ${what["what"]}`;
    default:
      return what["position"] === null
        ? "stopped before the copies were in step"
        : `stopped at ${what["position"]}`;
  }
}

function progressBar(io: Io): (progress: Progress) => void {
  const speed = speedometer();
  return (progress) => {
    const bytesPerSecond = speed(progress.bytesDone);
    io.progress({ what: progress.phase, ...progress, bytesPerSecond });
  };
}

/** What a DSN may say here; durability is what it is: whoever wants to know asks. */
function pick(inDsn: ReplicationOptions): ReplicateOptions {
  const { onReplicaFailure, minCopies, replicaTimeout, checkpointBytes } = inDsn;
  const { openTransactionMs, lowSpaceBytes } = inDsn;
  return {
    ...{ onReplicaFailure, minCopies, replicaTimeout, checkpointBytes },
    ...{ openTransactionMs, lowSpaceBytes },
  };
}

/** An option that was said, wherever; what is wrong with it is told with its place. */
function given(settings: Settings, name: Given, from: (text: string) => unknown): object {
  const setting = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const said = settings.read(setting, (text) => {
    const value = from(text);
    const wrong = wrongWith(name, value);
    if (wrong !== null) throw new Error(wrong);
    return value;
  });
  return said === undefined ? {} : { [name]: said };
}

/** As an option of the command's own: no other way to open a database has it. */
function holdLogMs(settings: Settings): ReplicateOptions {
  const ms = settings.read("hold-log-ms", (text) => {
    const value = number(text);
    const wrong = wrongWithHold(value);
    if (wrong !== null) throw new Error(wrong);
    return value;
  });
  return ms === undefined ? {} : { holdLogMs: ms };
}

function number(text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`takes a number, not "${text}"`);
  return Number(text);
}

type Given =
  | "onReplicaFailure"
  | "minCopies"
  | "replicaTimeout"
  | "checkpointBytes"
  | "openTransactionMs"
  | "lowSpaceBytes";

/** A service manager that cannot be told is no reason not to replicate. */
async function tellService(io: Io, state: ServiceState): Promise<void> {
  try {
    await notify(state);
  } catch (error) {
    io.complain(`systemd could not be told ${state}: ${(error as Error).message}`);
  }
}
