/** `lockstep status`: where each copy stands. Changes nothing. */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type CopyStatus, type ReplicaStatus, type StatusReport, status } from "../../status.ts";
import { copiesFrom } from "../copies.ts";
import { bytes, errorJson, type Io, UsageError } from "../io.ts";

export const usage = `Usage: lockstep status [--watch [SECONDS]] [--json] PRIMARY [REPLICA…]
       lockstep status … sqlite3://PRIMARY:REPLICA…

Says where each copy stands. Reads their records and logs only; they may be in use.

  relation  in-step, behind, ahead      the next start brings them together
            missing                     the next start makes the first copy
            unknown                     the next start compares all pages, then adopts or refuses
            diverged, stale-primary,    the next start refuses and says what settles it
            fenced
            locked                      another process has the replica in use

  --watch   look again every 2 or so many seconds, until interrupted; redrawn in place on a terminal
  --json    {"primary": COPY, "replicas": [COPY with "relation", "why", "detached", "lastProof", …],
             "warnings": [{"kind", "copy", "since", "what", "next", "stack"}, …]};
            COPY is
            {"path", "file": "present" | "missing", "bytes", "logFrames", "position": string | null,
             "because", "role", "timeline", "inUse": {"pid", "host", "since"} | null,
             "lastEvent": {"at", "what", "detail"} | null}; "detached" is null, or since when commits
             go on without it, from where, and why: {"since", "position": string | null, "code"};
             "lastProof" is null, or what came of the last lockstep drill: {"at", "proven": boolean,
             "position": string | null, "why": string | null, "provenAt": string | null};
            with --watch one document a line

Of the disks it warns: nearly full, the primary's own, a network's, in memory. A transaction left open
and a log that grows are known to the process that has the copies open: --listen, lockstep/observe.

Examples:
  lockstep status /var/lib/app/app.db /mnt/usb/app.db
  lockstep status --watch 1 sqlite3:///var/lib/app/app.db:/mnt/usb/app.db
  lockstep status --quiet /var/lib/app/app.db /mnt/usb/app.db || mail -s "not in step" root < /dev/null

Exit status: 0 all are in step, 1 one is not or the command failed, 2 wrong usage.
With --watch it is that of the last look.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args: withSeconds(args),
    allowPositionals: true,
    options: { json: { type: "boolean" }, watch: { type: "string" } },
  });
  const { primary, replicas } = copiesFrom(positionals);
  if (primary === undefined) throw new UsageError("status takes the path of a primary, or a DSN.");
  if (values.watch === undefined) {
    const report = await status(primary, replicas);
    if (values.json) io.json(report);
    else for (const line of linesOf(report)) io.print(line);
    return exitStatus(report);
  }
  const seconds = Number(values.watch);
  if (!(seconds > 0 && seconds <= SECONDS_MAX)) {
    throw new UsageError(`--watch takes a number of seconds, not "${values.watch}".`);
  }
  const look = async (): Promise<0 | 1> => {
    const report = await status(primary, replicas);
    if (values.json) io.line(report);
    else io.block([`${new Date().toISOString()}`, ...linesOf(report)]);
    return exitStatus(report);
  };
  return watch(look, seconds, (error) => {
    if (values.json) io.line(errorJson(error));
    else io.error(error);
  });
}

// --- internal ---

const SECONDS_DEFAULT = "2";
const SECONDS_MAX = 86_400;

/** `--watch` may stand without its number: then that is the default. */
function withSeconds(args: readonly string[]): string[] {
  return args.flatMap((arg, i) => {
    if (arg !== "--watch") return [arg];
    return /^[\d.]+$/.test(args[i + 1] ?? "") ? [arg] : [`--watch=${SECONDS_DEFAULT}`];
  });
}

/** Looks again and again until it is interrupted. @returns the exit status of the last look */
async function watch(
  look: () => Promise<0 | 1>,
  seconds: number,
  onError: (error: unknown) => void,
): Promise<0 | 1> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  for (const signal of ENDS) process.once(signal, interrupt);
  try {
    for (;;) {
      const last = await look().catch((error: unknown) => {
        onError(error); // what cannot be read now may be read at the next look
        return 1 as const;
      });
      const { signal } = interrupted;
      await delay(seconds * 1000, null, { signal }).catch(() => {});
      if (signal.aborted) return last;
    }
  } finally {
    for (const signal of ENDS) process.off(signal, interrupt);
  }
}

const ENDS = ["SIGINT", "SIGTERM"] as const;

function exitStatus({ primary, replicas }: StatusReport): 0 | 1 {
  const present = primary.file === "present";
  return present && replicas.every(({ relation }) => relation === "in-step") ? 0 : 1;
}

function linesOf({ primary, replicas, warnings }: StatusReport): string[] {
  return [
    ...describe("primary", primary),
    ...replicas.flatMap((replica) => describe("replica", replica, replica)),
    ...warnings.flatMap(({ what, next }) => [`warning ${what}`, `  next      ${next}`]),
  ];
}

function describe(what: string, copy: CopyStatus, replica?: ReplicaStatus): string[] {
  const lines = [`${what} ${copy.path}`];
  if (replica) lines.push(`  relation  ${replica.relation}: ${replica.why}`);
  if (replica?.detached) {
    const { since, position, code } = replica.detached;
    const from = position ? `, last known at ${position}` : "";
    lines.push(`  detached  since ${since}, by ${code}: commits go on without it${from}`);
  }
  if (copy.file === "missing") lines.push("  missing or empty");
  else {
    lines.push(`  holds     ${bytes(copy.bytes)}, and ${copy.logFrames} frames in its log`);
    lines.push(`  position  ${copy.position ?? "not proven"} (${copy.because})`);
  }
  if (replica) lines.push(`  proof     ${proofOf(replica)}`);
  if (copy.inUse) {
    const { pid, host, since } = copy.inUse;
    lines.push(`  in use    by process ${pid} on ${host} since ${since}`);
  }
  if (copy.lastEvent) {
    const { at, what: event, detail } = copy.lastEvent;
    lines.push(`  last      ${at} ${event}${detail === "" ? "" : ` (${detail})`}`);
  }
  return lines;
}

/** When it was last proven to restore. */
function proofOf({ lastProof }: ReplicaStatus): string {
  if (!lastProof) return "none yet: lockstep drill proves that it restores";
  const { at, proven, position, why, provenAt } = lastProof;
  if (proven) return `${at} it restored${position ? `, at ${position}` : ""}`;
  return `${at} IT DID NOT RESTORE: ${why}; last proven ${provenAt ?? "never"}`;
}
