/** What is done to a log as a file, whatever stands in it: it is written anew, cut off behind its end, made longer. */
import fs from "node:fs";
import { readFully, writeFully } from "../wal/scan.ts";

/**
 * Writes a log's first `length` bytes over themselves and syncs them. What was read from a log
 * after an unclean stop may exist in the page cache only, marked clean by a sync that failed; a
 * plain sync would skip such pages, so they are made dirty first.
 */
export function rewriteLog(file: string, length: number): void {
  const fd = fs.openSync(`${file}-wal`, "r+");
  try {
    const chunk = new Uint8Array(1 << 20);
    for (let at = 0; at < length; ) {
      const n = readFully(fd, chunk, 0, Math.min(chunk.length, length - at), at);
      if (n === 0) {
        const error = new Error("the log became shorter while it was read");
        throw Object.assign(error, { file: `${file}-wal`, code: "ENOENT" });
      }
      writeFully(fd, chunk, 0, n, at); // durable: what a failed sync left is made dirty
      at += n;
    }
    fs.fdatasyncSync(fd); // durable: and synced
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Cuts off what lies behind a log's first `length` bytes. A power cut may leave later transactions there, and not the one
 * before them: if an application commits that once more, byte for byte, the others would continue it again, though
 * a start has found none of them. Nobody else may write to the log meanwhile.
 */
export function cutLog(fd: number, length: number): void {
  if (fs.fstatSync(fd).size <= length) return;
  fs.ftruncateSync(fd, length);
  fs.fsyncSync(fd); // durable: what a power cut left behind the log's end is gone
}

/** The least and the most by which a log is grown ahead of its end, in bytes. */
const GROW_MIN = 64 << 10;
const GROW_MAX = 1 << 20;
/**
 * Written piece by piece: the page cache keeps what one write adds in one large folio, and ext4 goes
 * through all of that whenever a part of it is written over later, which each commit does.
 */
const ZEROES = new Uint8Array(GROW_MIN);

/** Is there so little room behind the first `used` of `size` bytes that a log should be grown? */
export function isTight(used: number, size: number): boolean {
  return size - used < growthOf(used) / 2;
}

/**
 * Adds zeroes to a log, and syncs them: what is written over them later changes neither the file's
 * size nor where its bytes lie, and its sync has less to do. For SQLite the log ends where it ended.
 * Nobody else may write to the log meanwhile.
 * @returns the new size, in bytes; infinite if the disk has no room for it, which is no failure
 */
export function growLog(fd: number, used: number): number {
  const { size } = fs.fstatSync(fd);
  if (!isTight(used, size)) return size;
  const length = growthOf(used);
  try {
    for (let at = 0; at < length; at += GROW_MIN) writeFully(fd, ZEROES, 0, GROW_MIN, size + at);
    fs.fdatasyncSync(fd);
    return size + length;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
    fs.ftruncateSync(fd, size); // what room there is is the application's
    return Number.POSITIVE_INFINITY; // and is not asked for again
  }
}

/** As much again, in powers of two. */
function growthOf(used: number): number {
  return Math.min(GROW_MAX, Math.max(GROW_MIN, 2 ** Math.ceil(Math.log2(used))));
}
