/**
 * The checksums of the pages that a log holds, read from the log: the file beneath may have rotted, a
 * log's frames vouch for each other.
 */
import fs from "node:fs";
import { walkFrames } from "../wal/chain.ts";
import {
  decodeFrameHeader,
  decodeWalHeader,
  FRAME_HEADER_SIZE,
  type FrameHeader,
  frameOffset,
  frameSize,
  type Salts,
  type Sums,
  sameSalts,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "../wal/format.ts";
import { readFully } from "../wal/scan.ts";
import { checksumOf } from "./sums.ts";

/** How far a log's pages were summed: up to the commit at `frame`. */
export interface Summed extends Salts, Sums {
  readonly frame: number;
  /** The size of the database there, in pages. */
  readonly pages: number;
}

export interface LogSums {
  readonly pageSize: number;
  /** By page number: the checksum of its newest version. */
  readonly entries: ReadonlyMap<number, number>;
  /** From where on they were read; null: from the log's beginning. */
  readonly after: Summed | null;
  readonly summed: Summed;
}

const CHUNK_BYTES = 256 << 10;
/** What is read into: this thread's own, used again for every log. */
let scratch = new Uint8Array(0);

/**
 * Sums the pages of the log at `path` up to its last commit at or before frame `end`.
 * @param before what was summed before: if that was this generation, the rest only is read
 * @returns null if no commit up to there verifies
 */
export function sumLog(path: string, end: number, before: Summed | null): LogSums | null {
  const fd = fs.openSync(path, "r");
  try {
    const head = new Uint8Array(WAL_HEADER_SIZE);
    readFully(fd, head, 0, head.length, 0);
    const header = decodeWalHeader(head);
    if (!header) return null;
    const { pageSize } = header;
    const after = before && sameSalts(before, header) && before.frame <= end ? before : null;
    const { newest, summed } = walkLog(fd, header, end, after);
    if (!summed) return null;
    // A page may have been written hundreds of times: only what it is at last is summed.
    const entries = new Map<number, number>();
    const bytes = scratch.subarray(0, pageSize);
    for (const [page, frame] of newest) {
      const at = frameOffset(frame, pageSize) + FRAME_HEADER_SIZE;
      if (readFully(fd, bytes, 0, pageSize, at) < pageSize) return null;
      entries.set(page, checksumOf(page, bytes));
    }
    return { pageSize, entries, after, summed };
  } finally {
    fs.closeSync(fd);
  }
}

/** The header of one frame of the log at `path`; null if it is shorter. */
export function readFrameHeader(path: string, frame: number, pageSize: number): FrameHeader | null {
  const fd = fs.openSync(path, "r");
  try {
    const bytes = new Uint8Array(FRAME_HEADER_SIZE);
    const length = readFully(fd, bytes, 0, bytes.length, frameOffset(frame, pageSize));
    return length < bytes.length ? null : decodeFrameHeader(bytes, 0);
  } finally {
    fs.closeSync(fd);
  }
}

// --- internal ---

/** @returns by page number the last committed frame that has it, and the commit that the log ends with */
function walkLog(
  fd: number,
  header: WalHeader,
  end: number,
  after: Summed | null,
): { newest: Map<number, number>; summed: Summed | null } {
  const { pageSize, salt1, salt2 } = header;
  const size = frameSize(pageSize);
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / size));
  if (scratch.length < perChunk * size) scratch = new Uint8Array(perChunk * size);
  const chunk = scratch;
  const newest = new Map<number, number>();
  let pending: [page: number, frame: number][] = []; // of the transaction being read
  let summed = after;
  let sums: Sums = after ?? header;
  for (let first = (after?.frame ?? 0) + 1; first <= end; ) {
    const wanted = Math.min(perChunk, end - first + 1);
    const bytes = readFully(fd, chunk, 0, wanted * size, frameOffset(first, pageSize));
    const count = Math.floor(bytes / size);
    const walk = walkFrames(chunk, 0, count, first, sums, header, (frame, page, commit) => {
      pending.push([page, frame]);
      if (!commit) return;
      for (const [each, at] of pending) newest.set(each, at);
      pending = [];
      summed = { ...commit, salt1, salt2 };
    });
    if (walk.frames < wanted) break;
    sums = walk.sums;
    first += walk.frames;
  }
  return { newest, summed };
}
