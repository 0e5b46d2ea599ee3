/**
 * The wal-index (`-shm`): the shared memory in which SQLite's connections tell each other how far the
 * log reaches and where each page's newest version lies in it. Every connection maps it; on Linux and
 * macOS a `pwrite` to the file changes the same memory. Integers are in the machine's own byte order,
 * but for the salts, which are copied from the log's header as they are (big-endian).
 *
 *     index       := header block*                 in blocks of 32768 bytes
 *     header        0 version  8 change  12 isInit (u8)  13 bigEndianSums (u8)  14 pageSize (u16)
 *                  16 frames  20 pages   24 sum1   28 sum2   32 salt1   36 salt2
 *                  40 checksum of bytes 0-39 (2 words)
 *                  48 the same again
 *                  96 how many frames are backfilled into the file   100 five read marks
 *                 120 bytes that are only locked, eight                128 backfill attempted
 *     block         0 the page numbers of 4096 frames (u32)        16384 8192 slots (u16)
 *                 The header lies on the beginning of the first block, which so has 4062 frames.
 *
 * pageSize    1 stands for 65536
 * change      counts commits; a rebuilt index starts at 0
 * slot        0: free. n: look at the block's n-th page number. A frame's slot is the first free one
 *             from (page * 383) mod 8192 on, around. Of a page's several frames the newest is found
 *             last on that way, so whoever looks for a page goes on to the first free slot.
 *
 * A header is valid if and only if its two copies are equal, version is 3007000, isInit is 1 and its
 * checksum holds. A reader that finds it invalid takes SQLite's write lock, looks once more, and then
 * rebuilds the index from the log under SQLite's own locks. That starts anew with nothing backfilled.
 * With another version SQLite refuses to open the database.
 *
 * What lies beyond `frames` means nothing. A reader keeps the `frames` of the header it began with: it
 * passes over slots of later frames and looks into no later block, so entries may be added while it
 * reads. They must be there before a header that counts them. A writer that was killed may leave
 * entries beyond `frames`, one run from there on; who appends next removes them first.
 *
 * Once all is backfilled new readers leave the log alone, and a writer that finds no others may begin
 * it anew: `frames` is 0 then, under new salts. An index without frames says that the file has all.
 *
 * A descriptor of a `-shm` must never be closed while this process may have a connection to its
 * database: closing it would drop that connection's locks.
 */
import fs from "node:fs";
import type { Commit } from "./chain.ts";
import {
  checksum,
  type Salts,
  type Sums,
  WAL_VERSION,
  type WalHeader,
  ZERO_SUMS,
} from "./format.ts";
import { writeFully } from "./scan.ts";

export const BLOCK_SIZE = 32768;
/** Where a block's slots begin. */
export const SLOTS_AT = 16384;
/** How much of the first block is header. */
export const INDEX_HEADER_SIZE = 136;
/** How many frames the first block has, and each that follows. */
export const FIRST_BLOCK_FRAMES = 4062;
export const BLOCK_FRAMES = 4096;

const COPIES_SIZE = 96;
const READ_SIZE = 100;
const COPY_SIZE = 48;
const MACHINE_BIG_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 0;

/** The header of a `-shm`; its fields are the last header read or stored. */
export class SharedIndex implements Salts, Sums {
  salt1 = 0;
  salt2 = 0;
  sum1 = 0;
  sum2 = 0;
  /** Committed frames in the log. */
  frames = 0;
  /** How many of them were written to the file; SQLite synced it only if that is all of them. */
  backfilled = 0;
  pageSize = 0;

  readonly #fd: number;
  readonly #bytes = new Uint8Array(READ_SIZE);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  readonly #view = new DataView(this.#bytes.buffer);
  #lastChange = -1;

  /** @param fd an open descriptor of the `-shm`; stays the caller's to close, or never to */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Of its file, as text. */
  get inode(): string {
    return String(fs.fstatSync(this.#fd).ino);
  }

  /** Reads the header. False if it is not valid just now; then the fields keep their values. */
  read(): boolean {
    if (fs.readSync(this.#fd, this.#bytes, 0, READ_SIZE, 0) < READ_SIZE) return false;
    const words = this.#words;
    for (let i = 0; i < COPY_SIZE / 4; i++) {
      if (words[i] !== words[i + COPY_SIZE / 4]) return false;
    }
    if (words[0] !== WAL_VERSION || this.#bytes[12] !== 1) return false;
    const sums = checksum(this.#bytes, 0, 40, ZERO_SUMS, MACHINE_BIG_ENDIAN);
    if (sums.sum1 !== words[10] || sums.sum2 !== words[11]) return false;
    this.#take();
    return true;
  }

  /** The five read marks, which are no part of the header: the frame at which a reader's log ends; 0 is 0. */
  readMarks(): readonly number[] {
    const marks = new Uint32Array(5);
    fs.readSync(this.#fd, new Uint8Array(marks.buffer), 0, marks.byteLength, READ_SIZE);
    return [...marks];
  }

  /** How many pages the database has, by the header read last. */
  get pages(): number {
    return this.#words[5] as number;
  }

  /** Of which page each frame is, in their order, by the header read last; for whoever keeps writers out. */
  framePages(): Uint32Array {
    const pages = new Uint32Array(this.frames);
    const bytes = new Uint8Array(pages.buffer);
    for (let done = 0, at = INDEX_HEADER_SIZE; done < pages.length; ) {
      const room = done === 0 ? FIRST_BLOCK_FRAMES : BLOCK_FRAMES;
      const count = Math.min(room, pages.length - done);
      const read = fs.readSync(this.#fd, bytes, done * 4, count * 4, at);
      if (read < count * 4) throw new Error("the wal-index ends too early");
      at = (Math.floor(at / BLOCK_SIZE) + 1) * BLOCK_SIZE;
      done += count;
    }
    return pages;
  }

  #take(): void {
    const words = this.#words;
    const size = this.#view.getUint16(14, !MACHINE_BIG_ENDIAN);
    this.pageSize = (size & 0xfe00) + ((size & 1) << 16);
    this.frames = words[4] as number;
    this.backfilled = words[24] as number;
    this.sum1 = words[6] as number;
    this.sum2 = words[7] as number;
    this.salt1 = this.#view.getUint32(32);
    this.salt2 = this.#view.getUint32(36);
    this.#lastChange = words[2] as number;
  }

  /** SQLite's counter of commits since the index was built. */
  get change(): number {
    return this.#lastChange;
  }

  /**
   * Over the header read last: the log reaches to `end`. One write for both copies, for nobody here
   * holds SQLite's write lock: whoever sees the copies differ waits for that lock only, and would
   * rebuild the index if they differed for long.
   */
  store(log: WalHeader, end: Commit): void {
    const words = this.#words;
    words[2] = this.#lastChange + 1;
    this.#bytes[13] = log.bigEndian ? 1 : 0;
    this.#view.setUint16(14, (log.pageSize & 0xff00) | (log.pageSize >> 16), !MACHINE_BIG_ENDIAN);
    words[4] = end.frame;
    words[5] = end.pages;
    words[6] = end.sum1;
    words[7] = end.sum2;
    this.#view.setUint32(32, log.salt1);
    this.#view.setUint32(36, log.salt2);
    const sums = checksum(this.#bytes, 0, 40, ZERO_SUMS, MACHINE_BIG_ENDIAN);
    words[10] = sums.sum1;
    words[11] = sums.sum2;
    this.#bytes.copyWithin(COPY_SIZE, 0, COPY_SIZE);
    writeFully(this.#fd, this.#bytes, 0, COPIES_SIZE, 0);
    this.#take();
  }

  /** Makes the next reader rebuild the index from the log. Leaves the locks and marks alone. */
  invalidate(): void {
    fs.writeSync(this.#fd, ZEROES, 0, COPIES_SIZE, 0);
  }
}

const ZEROES = new Uint8Array(COPIES_SIZE);
