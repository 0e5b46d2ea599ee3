/**
 * The end of a checkpoint where other programs commit as they like. The log may restart only if nobody has
 * committed since the last bit was folded; and a storm of commits must not put that off for ever:
 *
 *   1  all copies fold what there is, as long as that leaves much less each time
 *   2  the tail goes to the replicas and is synced, the primary folds it, and puts that on record; then the read
 *      mark moves to 0. If somebody has committed meanwhile SQLite gives another mark, and nothing is lost: again
 *   3  if that does not succeed for a while, SQLite's write lock is taken and step 2 done while it is held. If
 *      it cannot be had at once: later
 *   4  the replicas fold the tail. One that cannot just now does it before its log begins anew
 *      (mirror/delivery.ts)
 *
 * No replica is waited for with the lock held, for longer than a writer would hardly notice.
 */
import { frameSize, sameSalts } from "../wal/format.ts";
import type { Backfiller } from "./backfiller.ts";
import { foldReplicas, record } from "./fold-copies.ts";
import { type Gate, restarted } from "./gate.ts";
import type { Primary } from "./primary.ts";
import type { Roster } from "./roster.ts";

/** How much may be left for the moment in which writers are kept out. */
const TAIL_BYTES = 256 << 10;
/** How much at most, if commits come faster than they can be folded. */
const LARGEST_TAIL_BYTES = 2 << 20;
const ROUNDS = 3;
/** How long it is tried to find a gap between two commits, in milliseconds. */
const GAP_PATIENCE_MS = 100;
/** How long the write lock is waited for, and with it a replica, in milliseconds. */
const LOCK_PATIENCE_MS = 50;
const REPLICA_PATIENCE_MS = 100;

/**
 * How far others may fold, with SQLite's automatic checkpoints: up to the read mark. It moves off 0, where nobody
 * can fold, once a new generation was seen, and then stays: so they fold once, and leave the rest to us. If they
 * write faster than we fold it goes along with them: then they fold, as they would without us, and are
 * slowed down by it as they would be. To be called only while the file does not hold all that was seen.
 */
export function letFold(primary: Primary, isLong: boolean): void {
  if (primary.mayRestart || isLong) primary.holdAtEnd();
}

/** @returns null, or who is in the way */
export function finishAmongWriters(
  primary: Primary,
  roster: Roster,
  gate: Gate,
  backfiller: Backfiller,
): string | null {
  if (bytesBehind(primary, gate) > LARGEST_TAIL_BYTES)
    return "commits come faster than they are mirrored";
  gate.pass();
  if (primary.foldedHere()) return null;
  const fold = (work: () => void): string | null =>
    foldReplicas(primary, roster, gate, backfiller, work);
  const blocked = foldMost(primary, gate, fold);
  if (blocked !== null) return blocked;
  const deadline = performance.now() + GAP_PATIENCE_MS;
  while (!restartInAGap(primary, gate, backfiller)) {
    if (performance.now() < deadline) continue;
    const because = restartStandingStill(primary, gate, backfiller);
    if (because !== null) return because;
    break;
  }
  fold(() => {});
  return null;
}

// --- internal ---

/** How much of the log is not known to be on every copy. */
function bytesBehind(primary: Primary, { durable }: Gate): number {
  const { frames, pageSize } = primary.readIndex();
  const known = sameSalts(primary.index, durable) ? durable.frame : 0;
  return (frames - known) * frameSize(pageSize);
}

/** Step 1. @returns null, or who is in the way */
function foldMost(
  primary: Primary,
  gate: Gate,
  fold: (work: () => void) => string | null,
): string | null {
  for (let round = 1; ; round++) {
    primary.holdAtEnd();
    const blocked = fold(() => primary.fold());
    if (blocked) return blocked;
    const { frames, backfilled, pageSize } = primary.readIndex();
    if (!sameSalts(primary.index, primary.position)) throw restarted(primary.path);
    if (backfilled < primary.position.frame) return `${primary.path}: a reader is in the way`;
    const tail = (frames - backfilled) * frameSize(pageSize);
    if (tail <= TAIL_BYTES) return null;
    if (round >= ROUNDS) {
      const isTooLarge = tail > LARGEST_TAIL_BYTES;
      return isTooLarge ? `${primary.path}: commits come faster than they are folded` : null;
    }
    gate.pass();
  }
}

/** Step 2, while others may commit. @returns may the log restart now? */
function restartInAGap(primary: Primary, gate: Gate, backfiller: Backfiller): boolean {
  gate.pass();
  primary.holdAtEnd();
  primary.fold();
  const { position } = primary;
  const { frames, backfilled } = primary.readIndex();
  if (frames !== position.frame || backfilled !== frames) return false;
  record(primary, backfiller); // durable: the record before the restart, in a gap
  primary.hold();
  const isLonger =
    sameSalts(primary.readIndex(), position) && primary.index.frames > position.frame;
  return !isLonger;
}

/** Step 3. @returns null, or who is in the way */
function restartStandingStill(primary: Primary, gate: Gate, backfiller: Backfiller): string | null {
  if (!primary.tryStandStill(LOCK_PATIENCE_MS)) return `${primary.path}: a writer is in the way`;
  try {
    gate.handOver();
    primary.holdAtEnd(); // the deputy follows meanwhile
    // What the tail holds is on every copy before the log may restart.
    if (!gate.settled && !gate.settle(REPLICA_PATIENCE_MS)) return "a replica takes its time";
    if (!primary.fold()) return `${primary.path}: a reader is in the way`;
    record(primary, backfiller); // durable: the record before the restart, among writers
    primary.hold();
    return null;
  } finally {
    primary.release();
  }
}
