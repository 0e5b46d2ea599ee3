/** A message of a stream, opened; and one with frames, all that it says of itself checked. */
import { type Commit, walkFrames } from "../wal/chain.ts";
import { frameSize, sameSums, WAL_HEADER_SIZE, type WalHeader } from "../wal/format.ts";
import { noSegment, type SegmentHeader } from "./segment.ts";

/** A message, opened. */
export interface Segment {
  readonly sequence: number;
  readonly time: Date;
  readonly header: SegmentHeader;
  /** As it was before it was compressed and sealed. */
  readonly payload: Uint8Array;
}

/** A message with frames that verify. */
export interface Piece extends Segment {
  /** The ends of transactions in it. */
  readonly commits: readonly Commit[];
  /** The page of each frame. */
  readonly pages: readonly number[];
}

/** All that a message with frames says of itself. */
export function verify(segment: Segment, log: WalHeader, where: string): Piece {
  const { header, payload } = segment;
  const { pageSize, frames, first } = header;
  const at = first === 1 ? WAL_HEADER_SIZE : 0;
  if (frames < 1 || payload.length !== at + frames * frameSize(pageSize)) {
    throw noSegment(where, "does not have as many frames as it says");
  }
  const commits: Commit[] = [];
  const pages: number[] = [];
  const walk = walkFrames(payload, at, frames, first, header.before, log, (_, page, commit) => {
    pages.push(page);
    if (commit) commits.push(commit);
  });
  // durable: nothing counts that does not verify
  if (walk.frames !== frames || !sameSums(walk.sums, header.after)) {
    throw noSegment(where, "has a frame that does not verify");
  }
  if (header.ends && commits.at(-1)?.frame !== first + frames - 1) {
    throw noSegment(where, "ends no transaction, and says so");
  }
  return { ...segment, commits, pages };
}
