/**
 * One pass over a log file from its start to its end: every commit in it, and, if asked, where each
 * page's newest committed version lies. Reading and closing a `-wal` file is harmless (no locks
 * live on it), so this may run on a live database.
 */
import fs from "node:fs";
import { type Commit, walkFrames } from "./chain.ts";
import {
  decodeWalHeader,
  frameOffset,
  frameSize,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "./format.ts";

export interface LogScan {
  readonly header: WalHeader;
  /** Every frame that ends a transaction, in order; empty if nothing is committed. */
  readonly commits: readonly Commit[];
}

const CHUNK_BYTES = 1 << 20;

/** Reads the log at `path`. Null if it is missing, empty or has no valid header. */
export function scanLog(
  path: string,
  onCommit?: (commit: Commit, pages: ReadonlyMap<number, number>) => void,
): LogScan | null {
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    const head = new Uint8Array(WAL_HEADER_SIZE);
    if (readFully(fd, head, 0, head.length, 0) < head.length) return null;
    const header = decodeWalHeader(head);
    if (!header) return null;
    const size = frameSize(header.pageSize);
    const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / size));
    const chunk = new Uint8Array(perChunk * size);
    const commits: Commit[] = [];
    let pending = new Map<number, number>(); // page -> frame, of the transaction being read
    let sums = { sum1: header.sum1, sum2: header.sum2 };
    for (let first = 1; ; ) {
      const bytes = readFully(fd, chunk, 0, chunk.length, frameOffset(first, header.pageSize));
      const count = Math.floor(bytes / size);
      const walk = walkFrames(chunk, 0, count, first, sums, header, (frame, page, commit) => {
        pending.set(page, frame);
        if (!commit) return;
        commits.push(commit);
        onCommit?.(commit, pending);
        pending = new Map();
      });
      if (walk.frames < perChunk) return { header, commits };
      sums = { ...walk.sums };
      first += walk.frames;
    }
  } finally {
    fs.closeSync(fd);
  }
}

/** Does something with a file; what the system then throws says `file`, which Node.js leaves out. */
export function naming<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw Object.assign(error as Error, { file });
  }
}

/** Reads until `length` bytes are there or the file ends; returns how many. */
export function readFully(
  fd: number,
  into: Uint8Array,
  at: number,
  length: number,
  position: number,
): number {
  let done = 0;
  while (done < length) {
    const n = fs.readSync(fd, into, at + done, length - done, position + done);
    if (n === 0) break;
    done += n;
  }
  return done;
}

/** Writes all of it, or throws. */
export function writeFully(
  fd: number,
  from: Uint8Array,
  at: number,
  length: number,
  position: number,
): void {
  let done = 0;
  while (done < length) {
    done += fs.writeSync(fd, from, at + done, length - done, position + done);
  }
}
