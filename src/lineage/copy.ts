/**
 * The first copy: a database file's bytes, to another name, durable but for that name.
 * Runs where nobody has a database open (bulk.ts).
 */
import fs from "node:fs";
import { promisify } from "node:util";
import { type ByteProgress, pageSizeOf } from "../wal/image.ts";
import { naming } from "../wal/scan.ts";
import type { BulkResult } from "./bulk.ts";
import { alignedBuffers, DirectFile } from "./direct.ts";
import { SumsMaker, type SumsWanted } from "./make-sums.ts";

/** What is read, summed and written at once; whole pages of every size. */
const PIECE_BYTES = 2 << 20;
/** One is read and one is summed while those before are written. */
const PIECES = 3;
/** How much is written while what was written before is synced: the disk need not wait for us. */
const SYNC_EVERY_BYTES = 32 << 20;

const read = promisify(fs.read);

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
    const pieces = alignedBuffers(PIECES, PIECE_BYTES).map((bytes) => ({ bytes, written: DONE }));
    const dest = new DirectFile(to, mode);
    const pieceAt = (at: number) => pieces[(at / PIECE_BYTES) % PIECES] as (typeof pieces)[number];
    /** Reads what is there, up to the piece's end, when what was in its memory is written. */
    const fill = async (at: number): Promise<void> => {
      const { bytes, written } = pieceAt(at);
      await written; // durable: what a write under way says, before the next
      for (let done = 0, left = Math.min(PIECE_BYTES, size - at); left > 0; ) {
        const { bytesRead } = await read(source, bytes, done, left, at + done).catch(named(from));
        if (bytesRead === 0) throw new Error(`${from} became shorter while it was copied`);
        done += bytesRead;
        left -= bytesRead;
      }
    };
    let reading = awaitedLater(fill(0));
    let syncing = DONE;
    try {
      const pageSize = wanted.of.length > 0 ? pageSizeOf(source, from) : 0;
      const sums = pageSize > 0 ? new SumsMaker(wanted, pageSize, mode) : null;
      for (let at = 0, next = SYNC_EVERY_BYTES; at < size; at += PIECE_BYTES) {
        await reading;
        reading = awaitedLater(fill(at + PIECE_BYTES));
        await DONE; // that it begins
        const end = Math.min(at + PIECE_BYTES, size);
        const piece = pieceAt(at);
        const bytes = piece.bytes.subarray(0, end - at);
        sums?.add(bytes);
        if (at >= next) {
          await syncing; // durable: what a sync under way says, before the next
          syncing = awaitedLater(dest.syncData());
          next = at + SYNC_EVERY_BYTES;
        }
        piece.written = awaitedLater(dest.write(bytes, at));
        progress(end, size);
      }
      // durable: what the last write under way says
      await Promise.all(pieces.map(({ written }) => written));
      await syncing; // durable: what the last sync under way says
      dest.sync(); // the mark on the file is synced as well: either makes it durable
      return { pages: 0, differing: 0, sums: sums?.finish() ?? null };
    } finally {
      await Promise.allSettled([reading, syncing, ...pieces.map(({ written }) => written)]);
      dest.close();
    }
  } finally {
    fs.closeSync(source);
  }
}

// --- internal ---

const DONE = Promise.resolve();

/** What fails is thrown where it is awaited. */
function awaitedLater(work: Promise<void>): Promise<void> {
  work.catch(() => {});
  return work;
}

/** Of the file that could not be read, which the system's error leaves out. */
function named(file: string): (error: Error) => never {
  return (error) => {
    throw Object.assign(error, { file });
  };
}
