/** `lockstep status`: where each copy stands. Changes nothing. */
import { parseArgs } from "node:util";
import { type CopyStatus, type ReplicaStatus, status } from "../../status.ts";
import { copiesFrom } from "../copies.ts";
import { bytes, type Io, UsageError } from "../io.ts";

export const usage = `Usage: lockstep status [--json] PRIMARY [REPLICA…]
       lockstep status [--json] sqlite3://PRIMARY:REPLICA…

Says where each copy stands. Reads their records and logs only; they may be in use.

  relation  in-step, behind, ahead      the next start brings them together
            missing                     the next start makes the first copy
            unknown                     the next start compares all pages, then adopts or refuses
            diverged, stale-primary,    the next start refuses and says what settles it
            fenced
            locked                      another process has the replica in use

  --json    {"primary": COPY, "replicas": [COPY with "relation", "why", "detached", "lastProof", …]};
            COPY is
            {"path", "file": "present" | "missing", "bytes", "logFrames", "position": string | null,
             "because", "role", "timeline", "inUse": {"pid", "host", "since"} | null,
             "lastEvent": {"at", "what", "detail"} | null}; "detached" is null, or since when commits
             go on without it, from where, and why: {"since", "position": string | null, "code"};
             "lastProof" is null, or what came of the last lockstep drill: {"at", "proven": boolean,
             "position": string | null, "why": string | null, "provenAt": string | null}

Exit status: 0 all are in step, 1 one is not or the command failed, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" } },
  });
  const { primary, replicas } = copiesFrom(positionals);
  if (primary === undefined) throw new UsageError("status takes the path of a primary, or a DSN.");
  const report = await status(primary, replicas);
  if (values.json) io.json(report);
  else {
    for (const line of describe("primary", report.primary)) io.print(line);
    for (const replica of report.replicas) {
      for (const line of describe("replica", replica, replica)) io.print(line);
    }
  }
  const present = report.primary.file === "present";
  return present && report.replicas.every(({ relation }) => relation === "in-step") ? 0 : 1;
}

// --- internal ---

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
