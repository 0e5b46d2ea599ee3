/**
 * The first copy: a database file's bytes, to another name, durable but for that name.
 * Runs where nobody has a database open (bulk.ts).
 */
import fs from "node:fs";
import { promisify } from "node:util";
import { type ByteProgress, pageSizeOf } from "../wal/image.ts";
import { naming, readFully } from "../wal/scan.ts";
import type { BulkResult } from "./bulk.ts";
import { SumsMaker, type SumsWanted } from "./make-sums.ts";

/**
 * Larger writes may be much slower on ext4 with large folios (Linux 6.18): of several MiB always, of
 * 512 KiB at some times.
 */
const CHUNK_BYTES = 256 << 10;
/** How much is written while what was written before is synced: the disk need not wait for us. */
const SYNC_EVERY_BYTES = 32 << 20;

const sync = promisify(fs.fdatasync);
const write = promisify(fs.write);

/** Copies all of `from` to the new file `to`, with its mode bits, and syncs it; makes the sums wanted. */
export async function copyFile(
  from: string,
  to: string,
  progress: ByteProgress,
  wanted: SumsWanted,
): Promise<BulkResult> {
  const source = naming(from, () => fs.openSync(from, "r"));
  try {
    const { size, mode } = fs.fstatSync(source);
    const dest = fs.openSync(to, "wx", mode);
    let writing = Promise.resolve();
    let syncing = Promise.resolve();
    try {
      fs.fchmodSync(dest, mode);
      const pageSize = wanted.of.length > 0 ? pageSizeOf(source, from) : 0;
      const sums = pageSize > 0 ? new SumsMaker(wanted, pageSize, mode) : null;
      // One is read and summed while the other is written.
      const chunks = [0, 1].map(() => new Uint8Array(Math.min(CHUNK_BYTES, Math.max(size, 1))));
      for (let at = 0, next = SYNC_EVERY_BYTES; at < size; ) {
        const chunk = chunks.reverse()[0] as Uint8Array;
        const length = Math.min(chunk.length, size - at);
        const n = naming(from, () => readFully(source, chunk, 0, length, at));
        if (n === 0) throw new Error(`${from} became shorter while it was copied`);
        sums?.add(chunk.subarray(0, n));
        await writing; // durable: what a write under way says, before the next
        if (at >= next) {
          await syncing; // durable: what a sync under way says, before the next
          syncing = awaitedLater(sync(dest));
          next = at + SYNC_EVERY_BYTES;
        }
        writing = awaitedLater(writeAll(dest, chunk.subarray(0, n), at));
        at += n;
        progress(at, size);
      }
      await writing; // durable: what the last write under way says
      await syncing; // durable: what the last sync under way says
      fs.fsyncSync(dest); // the mark on the file is synced as well: either makes it durable
      return { pages: 0, differing: 0, sums: sums?.finish() ?? null };
    } finally {
      await Promise.allSettled([writing, syncing]);
      fs.closeSync(dest);
    }
  } finally {
    fs.closeSync(source);
  }
}

/** What fails is thrown where it is awaited. */
function awaitedLater(work: Promise<void>): Promise<void> {
  work.catch(() => {});
  return work;
}

async function writeAll(fd: number, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await write(fd, bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
