/**
 * The chain: walk frames and say how far they are valid (the three rules of format.ts).
 */
import {
  decodeFrameHeader,
  frameSize,
  frameSums,
  type Sums,
  sameSalts,
  sameSums,
  type WalHeader,
} from "./format.ts";

/** A frame that ends a transaction. */
export interface Commit extends Sums {
  /** Its number in the log, from 1. */
  readonly frame: number;
  /** Size of the database after it, in pages. */
  readonly pages: number;
}

export interface Walk {
  /** How many frames from the start of `bytes` are valid. */
  readonly frames: number;
  /** The running sum after the last valid frame. */
  readonly sums: Sums;
  /** The last of them that ends a transaction; its frame number counts from `first`. */
  readonly lastCommit: Commit | null;
}

/**
 * Walks the `count` frames in `bytes` at `at`, of which the first is number `first` of the log and
 * follows a frame (or the header) with the sums `before`. Stops at the first invalid frame.
 */
export function walkFrames(
  bytes: Uint8Array,
  at: number,
  count: number,
  first: number,
  before: Sums,
  header: WalHeader,
  onFrame?: (frame: number, page: number, commit: Commit | null) => void,
): Walk {
  let sums: Sums = before;
  let lastCommit: Commit | null = null;
  for (let i = 0; i < count; i++) {
    const offset = at + i * frameSize(header.pageSize);
    const frame = decodeFrameHeader(bytes, offset);
    // durable: a frame of another generation ends the log
    if (!sameSalts(frame, header) || frame.page === 0) return { frames: i, sums, lastCommit };
    const expected = frameSums(bytes, offset, sums, header);
    // durable: a frame that does not continue the chain ends the log
    if (!sameSums(frame, expected)) return { frames: i, sums, lastCommit };
    sums = expected;
    const commit =
      frame.commit === 0 ? null : { frame: first + i, pages: frame.commit, ...expected };
    if (commit) lastCommit = commit;
    onFrame?.(first + i, frame.page, commit);
  }
  return { frames: count, sums, lastCommit };
}
