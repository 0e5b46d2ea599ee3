/** Folds the copies' logs at one moment, whoever keeps it. */
import { LockstepError } from "../errors.ts";
import { keeperOf } from "../lineage/keeper.ts";
import type { Backfiller } from "./backfiller.ts";
import type { Gate } from "./gate.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";
import type { Roster } from "./roster.ts";
import { noteStreams } from "./streams.ts";

/**
 * All replicas that are waited for fold what they hold.
 * @param meanwhile what this thread does while they do
 * @returns null, or who is in the way
 */
export function foldReplicas(
  primary: Primary,
  roster: Roster,
  gate: Gate,
  backfiller: Backfiller,
  meanwhile: () => void,
): string | null {
  const mirrors = roster.attached;
  for (const mirror of mirrors) {
    mirror.post({ type: "fold", ahead: backfiller.takeAhead(mirror), left: primary.later.at });
  }
  meanwhile();
  let blocked: string | null = null;
  for (const mirror of mirrors) {
    const report = unlessLost(gate, mirror, () => mirror.wait("folded"));
    if (report && !report.done) blocked ??= `${mirror.path}: ${report.because}`;
  }
  noteStreams(primary, roster.connected);
  return blocked;
}

/** Puts on record what the primary's file holds. */
export function record(primary: Primary, backfiller: Backfiller): void {
  const ahead = backfiller.takeAhead(primary);
  if (ahead !== undefined) keeperOf(primary.sidecar).noteAhead(ahead);
  primary.recordFolded(primary.position);
}

/** Asks a mirror; null if it failed and commits go on without it. */
export function unlessLost<T>(gate: Gate, mirror: Mirror, work: () => T): T | null {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    gate.lose(mirror, error);
    return null;
  }
}
