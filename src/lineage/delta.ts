/**
 * A re-synchronisation: one WAL transaction that turns one database file into another.
 *
 * Only the pages that differ are written, as frames of a log under fresh salts, the last of which
 * commits the size of the source. Put beside the old file under its `-wal` name, that log is the
 * new state; torn or absent, the file is the old one. Neither file has a log of its own here.
 * Runs where nobody has a database open (bulk.ts).
 */
import fs from "node:fs";
import {
  encodeFrameHeader,
  encodeWalHeader,
  FRAME_HEADER_SIZE,
  frameSize,
  LOCK_BYTE,
  type Salts,
  type Sums,
  WAL_HEADER_SIZE,
} from "../wal/format.ts";
import { type ByteProgress, pageSizeOf } from "../wal/image.ts";
import { naming, readFully, writeFully } from "../wal/scan.ts";
import type { BulkResult } from "./bulk.ts";
import { checksumOf, type SumsFile } from "./sums.ts";

/** Of both files so much as stays in the processor's cache: compared there, it is read from memory once. */
const CHUNK_BYTES = 256 << 10;

/**
 * Writes the log at `log`, a new file, and syncs it. With nothing different, no file is made.
 * @param sums of the source, if it has any: a page that has rotted there does not replace a good one
 */
export function writeDelta(
  from: string,
  to: string,
  log: string,
  salts: Salts,
  progress: ByteProgress,
  sums: SumsFile | null = null,
): BulkResult {
  const source = naming(from, () => fs.openSync(from, "r"));
  const target = fs.openSync(to, "r");
  const entryOf = (page: number): number => naming(from, () => sums?.read(page, 1)[0] ?? 0);
  try {
    const pageSize = pageSizeOf(source, from);
    const { size } = fs.fstatSync(source);
    const { size: targetSize, mode } = fs.fstatSync(target);
    const pages = size / pageSize;
    const writer = new DeltaLog(log, mode, pageSize, salts, pages);
    try {
      const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / pageSize));
      const ours = Buffer.alloc(perChunk * pageSize);
      const theirs = Buffer.alloc(perChunk * pageSize);
      for (let first = 1; first <= pages; first += perChunk) {
        const at = (first - 1) * pageSize;
        const length = Math.min(ours.length, size - at);
        const n = naming(from, () => readFully(source, ours, 0, length, at));
        const m = readFully(target, theirs, 0, n, at);
        const equal = m === n && ours.subarray(0, n).equals(theirs.subarray(0, n));
        for (let i = 0; !equal && i * pageSize < n; i++) {
          const start = i * pageSize;
          const page = ours.subarray(start, start + pageSize);
          const old = start + pageSize <= m ? theirs.subarray(start, start + pageSize) : null;
          if (old && (page.equals(old) || isRot(entryOf(first + i), first + i, page, old)))
            continue;
          if (at + start !== LOCK_BYTE) writer.add(first + i, page);
        }
        progress(at + n, size);
      }
      if (targetSize !== size && writer.frames === 0) {
        naming(from, () => readFully(source, ours, 0, pageSize, 0)); // a transaction that only shrinks the file
        writer.add(1, ours.subarray(0, pageSize));
      }
      writer.finish();
      return { pages, differing: writer.frames };
    } finally {
      writer.close();
    }
  } finally {
    fs.closeSync(source);
    fs.closeSync(target);
  }
}

/** Is the old page what its entry says, and the new one not? */
function isRot(entry: number, page: number, now: Uint8Array, old: Uint8Array): boolean {
  return entry !== 0 && checksumOf(page, old) === entry && checksumOf(page, now) !== entry;
}

/** Writes frames one behind, so that the last one can carry the commit. Without any no file is made. */
export class DeltaLog {
  frames = 0;
  readonly #path: string;
  readonly #mode: number;
  readonly #pages: number;
  readonly #header: ReturnType<typeof encodeWalHeader>;
  readonly #headerBytes = new Uint8Array(WAL_HEADER_SIZE);
  readonly #frame: Uint8Array;
  #fd: number | null = null;
  #sums: Sums;
  #page = 0;

  constructor(path: string, mode: number, pageSize: number, salts: Salts, pages: number) {
    this.#path = path;
    this.#mode = mode;
    this.#pages = pages;
    this.#header = encodeWalHeader(this.#headerBytes, { pageSize, checkpoint: 0, ...salts });
    this.#sums = this.#header;
    this.#frame = new Uint8Array(frameSize(pageSize));
  }

  add(page: number, bytes: Uint8Array): void {
    if (this.#fd === null) {
      this.#fd = fs.openSync(this.#path, "wx", this.#mode);
      writeFully(this.#fd, this.#headerBytes, 0, WAL_HEADER_SIZE, 0);
    }
    if (this.frames > 0) this.#write(0);
    this.#frame.set(bytes, FRAME_HEADER_SIZE);
    this.#page = page;
    this.frames++;
  }

  /** The last frame becomes the commit; all is synced. */
  finish(): void {
    if (this.#fd === null) return;
    this.#write(this.#pages);
    fs.fsyncSync(this.#fd); // durable: the delta
  }

  close(): void {
    if (this.#fd !== null) fs.closeSync(this.#fd);
  }

  #write(commit: number): void {
    this.#sums = encodeFrameHeader(
      this.#frame,
      0,
      { page: this.#page, commit },
      this.#sums,
      this.#header,
    );
    const offset = WAL_HEADER_SIZE + (this.frames - 1) * this.#frame.length;
    writeFully(this.#fd as number, this.#frame, 0, this.#frame.length, offset);
  }
}
