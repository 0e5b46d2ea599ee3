/**
 * The end of a checkpoint where other programs commit as they like. A storm of commits would leave a rest for
 * ever; so the rest is made small first, and then folded while they are kept out, for the moment that takes:
 *
 *   1  all copies fold what there is, as long as that leaves much less each time. If it leaves nothing, go to 4:
 *      whoever commits now, before the mark has moved, keeps the log from restarting
 *   2  SQLite's write lock is taken, if it can be had at once; or later
 *   3  the tail goes to the replicas and is synced, the primary folds it, and puts that on record
 *   4  the read mark moves to 0, and the lock is given up: the next commit may restart the log
 *   5  the replicas fold the tail. One that cannot just now does it before its log begins anew
 *      (mirror/delivery.ts)
 *
 * No step waits for a replica while the lock is held for longer than a writer would not notice.
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
const ROUNDS = 4;
/** How long the write lock is waited for, and with it a replica, in milliseconds. */
const LOCK_PATIENCE_MS = 50;
const REPLICA_PATIENCE_MS = 100;

/**
 * How far others may fold, with SQLite's automatic checkpoints: up to the read mark. It moves off 0, where nobody
 * can fold, once a new generation was seen, and then stays: so they fold once, and leave the rest to us. If they
 * write faster than we fold it goes along with them: then they fold, as they would without us, and are
 * slowed down by it as they would be.
 */
export function letFold(primary: Primary, isLong: boolean): void {
  if (!primary.mayRestart && !isLong) return;
  if (sameSalts(primary.readIndex(), primary.position) && !primary.foldedHere())
    primary.holdAtEnd();
}

/** @returns null, or who is in the way */
export function finishAmongWriters(
  primary: Primary,
  roster: Roster,
  gate: Gate,
  backfiller: Backfiller,
): string | null {
  for (let round = 1; ; round++) {
    gate.pass();
    if (primary.foldedHere()) return null;
    primary.holdAtEnd();
    const blocked = foldReplicas(roster, gate, backfiller, () => primary.fold());
    if (blocked) return blocked;
    const { frames, backfilled, pageSize } = primary.readIndex();
    if (!sameSalts(primary.index, primary.position)) throw restarted(primary.path);
    if (backfilled < primary.position.frame) return `${primary.path}: a reader is in the way`;
    if (frames === primary.position.frame && backfilled === frames) {
      record(primary, backfiller); // durable: the record before the restart, without the lock
      primary.hold();
      return null;
    }
    const tail = (frames - backfilled) * frameSize(pageSize);
    if (tail <= TAIL_BYTES) break;
    if (round < ROUNDS) continue;
    if (tail > LARGEST_TAIL_BYTES)
      return `${primary.path}: commits come faster than they are folded`;
    break;
  }
  if (!primary.tryStandStill(LOCK_PATIENCE_MS)) return `${primary.path}: a writer is in the way`;
  try {
    // durable: what the tail holds is on every copy before the log may restart
    gate.handOver();
    if (!gate.settled && !gate.settle(REPLICA_PATIENCE_MS)) return "a replica takes its time";
    primary.holdAtEnd();
    if (!primary.fold()) return `${primary.path}: a reader is in the way`;
    record(primary, backfiller); // durable: the record before the restart, among writers
    primary.hold();
  } finally {
    primary.release();
  }
  foldReplicas(roster, gate, backfiller, () => {});
  return null;
}
