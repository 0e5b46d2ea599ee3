/**
 * The checksums of the pages that a log holds, read from the log: the file beneath may have rotted, a
 * log's frames vouch for each other.
 */
import fs from "node:fs";
import { walkFrames } from "../wal/chain.ts";
import {
  decodeWalHeader,
  FRAME_HEADER_SIZE,
  frameOffset,
  frameSize,
  type Salts,
  type Sums,
  sameSalts,
  WAL_HEADER_SIZE,
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
    const size = frameSize(pageSize);
    const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / size));
    if (scratch.length < perChunk * size) scratch = new Uint8Array(perChunk * size);
    const chunk = scratch;
    const entries = new Map<number, number>();
    const pending = new Map<number, number>(); // of the transaction being read
    const after = before && sameSalts(before, header) && before.frame <= end ? before : null;
    let summed: Summed | null = after;
    let sums: Sums = after ?? header;
    for (let first = (after?.frame ?? 0) + 1; first <= end; ) {
      const wanted = Math.min(perChunk, end - first + 1);
      const bytes = readFully(fd, chunk, 0, wanted * size, frameOffset(first, pageSize));
      const walk = walkFrames(
        chunk,
        0,
        Math.floor(bytes / size),
        first,
        sums,
        header,
        (n, page, commit) => {
          const at = (n - first) * size + FRAME_HEADER_SIZE;
          pending.set(page, checksumOf(page, chunk.subarray(at, at + pageSize)));
          if (!commit) return;
          for (const [each, entry] of pending) entries.set(each, entry);
          pending.clear();
          const { salt1, salt2 } = header;
          summed = { ...commit, salt1, salt2 };
        },
      );
      if (walk.frames < wanted) break;
      sums = walk.sums;
      first += walk.frames;
    }
    return summed && { pageSize, entries, after, summed };
  } finally {
    fs.closeSync(fd);
  }
}
