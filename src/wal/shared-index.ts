/**
 * The header of the wal-index (`-shm`), the shared memory in which SQLite's connections tell each
 * other how far the log reaches. Integers are in the machine's own byte order, but for the salts,
 * which are copied from the log's header as they are (big-endian).
 *
 *     0 version  8 change  12 isInit (u8)  13 bigEndianSums (u8)  14 pageSize (u16)  16 frames
 *    20 pages   24 sum1   28 sum2   32 salt1   36 salt2   40 checksum of bytes 0-39 (2 words)
 *    48 the same again     96 how many frames are backfilled into the file    100 five read marks
 *
 * A header is valid if and only if its two copies are equal, isInit is 1 and its checksum holds. A
 * reader that finds it invalid rebuilds the index from the log, under SQLite's own locks: that is
 * how an index is brought up to date after frames were appended by hand (`invalidate`).
 *
 * A descriptor of a `-shm` must never be closed while this process may have a connection to its
 * database: closing it would drop that connection's locks.
 */
import fs from "node:fs";
import { checksum, type Salts, type Sums, ZERO_SUMS } from "./format.ts";

const COPIES_SIZE = 96;
const READ_SIZE = 100;
const COPY_SIZE = 48;
const MACHINE_BIG_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 0;

/** One reader of a `-shm`; its fields are the last header read. Allocates nothing per read. */
export class SharedIndex implements Salts, Sums {
  salt1 = 0;
  salt2 = 0;
  sum1 = 0;
  sum2 = 0;
  /** Committed frames in the log. */
  frames = 0;
  /** How many of them are in the file, durably. */
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

  /** Reads the header. False if it is not valid just now; then the fields keep their values. */
  read(): boolean {
    if (fs.readSync(this.#fd, this.#bytes, 0, READ_SIZE, 0) < READ_SIZE) return false;
    const words = this.#words;
    for (let i = 0; i < COPY_SIZE / 4; i++) {
      if (words[i] !== words[i + COPY_SIZE / 4]) return false;
    }
    if (this.#bytes[12] !== 1) return false;
    const sums = checksum(this.#bytes, 0, 40, ZERO_SUMS, MACHINE_BIG_ENDIAN);
    if (sums.sum1 !== words[10] || sums.sum2 !== words[11]) return false;
    const size = this.#view.getUint16(14, !MACHINE_BIG_ENDIAN);
    this.pageSize = (size & 0xfe00) + ((size & 1) << 16);
    this.frames = words[4] as number;
    this.backfilled = words[24] as number;
    this.sum1 = words[6] as number;
    this.sum2 = words[7] as number;
    this.salt1 = this.#view.getUint32(32);
    this.salt2 = this.#view.getUint32(36);
    this.#lastChange = words[2] as number;
    return true;
  }

  /** SQLite's counter of commits since the index was built. */
  get change(): number {
    return this.#lastChange;
  }

  /** Makes the next reader rebuild the index from the log. Leaves the locks and marks alone. */
  invalidate(): void {
    fs.writeSync(this.#fd, ZEROES, 0, COPIES_SIZE, 0);
  }
}

const ZEROES = new Uint8Array(COPIES_SIZE);
