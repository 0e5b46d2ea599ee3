/** The primary's log is in its file, whole: folded here, or by others. */
import { busy } from "../lineage/fold.ts";
import type { Position } from "../lineage/position.ts";
import { rewriteLog } from "../targets/log-file.ts";
import { frameOffset } from "../wal/format.ts";
import { leave } from "./leave.ts";
import { LOCK_WAIT_MS, type Primary } from "./primary.ts";

/**
 * Folds the log whole and leaves none, for content that gets its first position; writers are out afterwards.
 * @param frames how many the log must hold for the file to be at `position` then; null: however
 *     many there are, that content is given this position
 * @throws LockstepError BUSY if another program reads, or wrote meanwhile
 */
export function foldAndStandStill(
  primary: Primary,
  position: Position,
  frames: number | null,
): void {
  const { path, sidecar } = primary;
  const deadline = performance.now() + LOCK_WAIT_MS;
  do {
    primary.standStill();
    const { frames: logged, pageSize } = primary.readIndex();
    // durable: the log is written anew before it is folded, start
    if (logged > 0) rewriteLog(path, frameOffset(logged + 1, pageSize));
    primary.release();
    // durable: a checkpoint is under way, start
    sidecar.beginFold();
    const full = primary.checkpoint("RESTART");
    if (full.busy || full.log !== full.checkpointed) throw busy(path);
    if (frames !== null && full.log !== frames) throw busy(path);
    primary.recordFolded(position);
    if (primary.checkpoint("TRUNCATE").busy) throw busy(path);
    primary.standStill();
    if (primary.readIndex().frames === 0 && primary.holdsFolded(position)) return;
    primary.release(); // another program wrote in between
  } while (frames === null && performance.now() < deadline);
  throw busy(path);
}

/** A log that somebody else has folded whole may restart: that its file holds it is recorded. */
export function recordForeignFold(primary: Primary): void {
  const { frames, backfilled } = primary.readIndex();
  const whole = frames > 0 && frames === primary.position.frame && backfilled === frames;
  if (!whole || primary.foldedHere()) return;
  leave(primary); // durable: all commits of the log are kept, folded by others
  primary.sidecar.beginFold();
  primary.recordFolded(primary.position);
}
