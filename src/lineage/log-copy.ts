/**
 * A log, up to a position, to another name: whole, verified and durable but for that name. Renamed
 * beside a database file that lacks it, it takes effect at once or not at all.
 */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import {
  decodeWalHeader,
  frameOffset,
  sameSalts,
  sameSums,
  WAL_HEADER_SIZE,
} from "../wal/format.ts";
import { naming, readFully, scanLog, writeFully } from "../wal/scan.ts";
import type { Position } from "./position.ts";

const CHUNK_BYTES = 1 << 20;

/**
 * Copies the log file `from`, up to `position`, into the new file `to`. One is the primary's, the other a
 * replica's: an error of reading says by its `file` which it is.
 */
export function copyLog(from: string, to: string, position: Position, mode: number): void {
  const source = naming(from, () => fs.openSync(from, "r"));
  const read = (into: Uint8Array, length: number, at: number): number =>
    naming(from, () => readFully(source, into, 0, length, at));
  try {
    const head = new Uint8Array(WAL_HEADER_SIZE);
    read(head, WAL_HEADER_SIZE, 0);
    const header = decodeWalHeader(head);
    if (!header || !sameSalts(header, position)) throw unreadable(from, "it is another generation");
    const length = frameOffset(position.frame + 1, header.pageSize);
    const dest = fs.openSync(to, "wx", mode);
    try {
      const chunk = new Uint8Array(CHUNK_BYTES);
      for (let at = 0; at < length; ) {
        const n = read(chunk, Math.min(chunk.length, length - at), at);
        if (n === 0) throw unreadable(from, "it is shorter than its position");
        writeFully(dest, chunk, 0, n, at);
        at += n;
      }
      fs.fsyncSync(dest); // durable: the copied log
    } finally {
      fs.closeSync(dest);
    }
  } finally {
    fs.closeSync(source);
  }
  const last = scanLog(to)?.commits.at(-1);
  // durable: the copied log ends where it should
  if (!last || last.frame !== position.frame || !sameSums(last, position)) {
    fs.rmSync(to);
    throw unreadable(from, "what was copied does not verify");
  }
}

function unreadable(log: string, why: string): LockstepError {
  return new LockstepError(codes.VERIFY, {
    copy: log,
    what: `The log cannot be copied: ${why}`,
    state: "Neither copy was changed",
    next: "Check the disk it lies on, then start again",
  });
}
