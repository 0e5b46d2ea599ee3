/**
 * Two copies held still at one state, whoever writes them meanwhile, until what is said of them is
 * certain. The two cannot be taken at one instant: a commit may land in between. While both stand in
 * the same generation of the log, the one that is ahead is cut back to the other's last commit; where
 * that cannot be told for certain (the file was checkpointed past the cut), or the copies were caught
 * in different generations, they are taken anew.
 */
import { setTimeout as delay } from "node:timers/promises";
import { codes, LockstepError } from "../errors.ts";
import type { Commit } from "../wal/chain.ts";
import { type Salts, sameSalts, sameSums } from "../wal/format.ts";
import type { Comparison, Image, Log } from "../wal/image.ts";
import type { Snapshot } from "./snapshot.ts";

export interface Images {
  readonly a: Image;
  readonly b: Image;
  /** Where `b` ends in its log; null if it has none. */
  readonly end: (Salts & Pick<Commit, "frame" | "sum1" | "sum2">) | null;
  /** Do the two end at the same frame of the same generation? */
  readonly aligned: boolean;
}

export interface Settled {
  readonly images: Images;
  readonly comparison: Comparison;
}

/**
 * Has the images of both judged until the outcome is certain. Both are still held when it returns.
 * @throws LockstepError BUSY
 */
export async function settle(
  left: Snapshot,
  right: Snapshot,
  judge: (images: Images) => Comparison,
): Promise<Settled> {
  for (let attempt = 1; ; attempt++) {
    left.take();
    right.take();
    const images = await align(left, right);
    const comparison = judge(images);
    const disturbed = left.disturbed || right.disturbed;
    if (!disturbed && isCertain(comparison, images)) return { images, comparison };
    await delay(BETWEEN_ATTEMPTS_MS);
    // A difference between two copies of which one at least stands still will not go away, but a
    // commit that was on its way to the other gets a moment to arrive.
    const moved = [left.moved, right.moved].filter(Boolean).length;
    if (!disturbed && (moved === 0 || (moved === 1 && attempt > 1))) return { images, comparison };
    if (attempt === ATTEMPTS) throw neverStill(left.path, right.path);
  }
}

// --- internal ---

/** How often the copies are taken anew before we give up. */
const ATTEMPTS = 6;
const BETWEEN_ATTEMPTS_MS = 250;
/** How long a copy that is behind in the same generation gets to catch up. */
const CATCH_UP_MS = 1000;
const CATCH_UP_STEP_MS = 20;

/** The images of both, cut to their common frame if they have one. */
async function align(left: Snapshot, right: Snapshot): Promise<Images> {
  const until = performance.now() + CATCH_UP_MS;
  for (;;) {
    const [l, r] = [left.log, right.log];
    if (!l || !r || !sameSalts(l.header, r.header)) break;
    if (l.end.frame === r.end.frame) return imagesOf(left, right, r, true);
    const [behind, goal] = l.end.frame < r.end.frame ? [left, r.end] : [right, l.end];
    if (performance.now() > until) break;
    await delay(CATCH_UP_STEP_MS);
    behind.advance();
    // Usually it has passed the other, which is still held where it was: cut it back to there.
    const cut = behind.log?.transactions.find(({ commit }) => commit.frame === goal.frame)?.commit;
    if (!cut || !behind.log || !sameSalts(behind.log.header, l.header)) continue;
    if (!sameSums(cut, goal)) break;
    return {
      a: left.image(behind === left ? cut.frame : undefined),
      b: right.image(behind === right ? cut.frame : undefined),
      end: { ...endOf(r), frame: cut.frame, sum1: cut.sum1, sum2: cut.sum2 },
      aligned: true,
    };
  }
  return imagesOf(left, right, right.log, false);
}

function imagesOf(left: Snapshot, right: Snapshot, log: Log | null, aligned: boolean): Images {
  return { a: left.image(), b: right.image(), end: log && endOf(log), aligned };
}

function endOf({ header: { salt1, salt2 }, end }: Log): NonNullable<Images["end"]> {
  return { salt1, salt2, frame: end.frame, sum1: end.sum1, sum2: end.sum2 };
}

/** Equal states are equal, wherever they were met; a difference counts between aligned images. */
function isCertain({ differing, different }: Comparison, { a, b, aligned }: Images): boolean {
  if (differing === 0) return true;
  if (!aligned) return false;
  return different.some((page) => !a.doubtful.has(page) && !b.doubtful.has(page));
}

function neverStill(a: string, b: string): LockstepError {
  return new LockstepError(codes.BUSY, {
    copy: b,
    what: `It and ${a} were written so fast that no common state of theirs was met`,
    state: "Nothing was changed; whether they are equal is not known",
    next: "Run the command again when there is less to write",
  });
}
