/**
 * The SQLite write-ahead log, as SQLite writes it and as this package reads, copies and (for a
 * re-synchronisation, see lineage/delta.ts) makes it.
 *
 *     wal         := header frame*                 integers are big-endian u32
 *     frame       := frameHeader page              page is `pageSize` bytes
 *     header      0 magic   4 version  8 pageSize  12 checkpoint  16 salt1  20 salt2  24 sum1  28 sum2
 *     frameHeader 0 page    4 commit   8 salt1     12 salt2       16 sum1   20 sum2
 *
 * magic       0x377f0682: the checksum reads its words little-endian; 0x377f0683: big-endian
 * version     3007000
 * checkpoint  counts the restarts of this file; a fresh file starts at 0
 * salts       new for every restart (salt1 counts up, salt2 is random): they name the generation
 * page        the page's number, from 1
 * commit      on the last frame of a transaction the size of the database in pages, else 0
 *
 * A header is valid if and only if magic, version and pageSize are known values and its sum is the
 * checksum of its first 24 bytes, started at (0, 0). A frame is valid if and only if
 *   (1) its salts are the header's, and
 *   (2) its page number is not 0, and
 *   (3) its sum continues the previous frame's (the first frame: the header's) over the first 8
 *       bytes of its header and then over the page.
 * The first invalid frame is the end of the log, not an error: restarts leave older frames behind
 * the end, crashes leave torn ones. Valid frames after the last one with a non-zero `commit` belong
 * to no transaction (a cache spill, or a crash in mid-commit) and will be overwritten in place.
 *
 * SQLite before 3.50.2 commits frames whose salts and sums are 0: where a transaction overwrites what it has
 * spilled of itself and then rolls back to a savepoint before that. Its connections read them, by the wal-index;
 * a recovery, like us, takes the first of them for the end of the log (sqlite.org/forum/forumpost/b490f726db).
 *
 * The checksum, over pairs of words:  s0 += x[i] + s1;  s1 += x[i + 1] + s0.  It is cumulative: two
 * logs with equal salts and an equal sum at frame n hold the same first n frames. It is a checksum
 * and no signature; it does not protect against somebody who means to deceive.
 *
 * Example, page size 4096: frame 1 lies at byte 32, frame 2 at 4152 (32 + 24 + 4096).
 *
 * The database file starts with the 16 bytes "SQLite format 3\0"; bytes 16-17 are its page size
 * (1 stands for 65536), bytes 18 and 19 are both 2 in WAL mode.
 */

export const WAL_HEADER_SIZE = 32;
export const FRAME_HEADER_SIZE = 24;
export const WAL_MAGIC_LITTLE_ENDIAN = 0x377f0682;
export const WAL_MAGIC_BIG_ENDIAN = 0x377f0683;
export const WAL_VERSION = 3007000;
export const PAGE_SIZE_MIN = 512;
export const PAGE_SIZE_MAX = 65536;

/** The byte at which SQLite's locks lie; the page that holds it is never data. */
export const LOCK_BYTE = 0x40000000;

/** The running checksum: two words. */
export interface Sums {
  readonly sum1: number;
  readonly sum2: number;
}

/** The two salts that name a generation. */
export interface Salts {
  readonly salt1: number;
  readonly salt2: number;
}

export interface WalHeader extends Salts, Sums {
  /** Does the checksum read its words big-endian? */
  readonly bigEndian: boolean;
  readonly pageSize: number;
  /** How often this file was restarted before. */
  readonly checkpoint: number;
}

export interface FrameHeader extends Salts, Sums {
  readonly page: number;
  /** Database size in pages if this frame ends a transaction, else 0. */
  readonly commit: number;
}

export function isPageSize(size: number): boolean {
  return size >= PAGE_SIZE_MIN && size <= PAGE_SIZE_MAX && (size & (size - 1)) === 0;
}

export function frameSize(pageSize: number): number {
  return FRAME_HEADER_SIZE + pageSize;
}

/** Where frame `frame` (from 1) starts; `frameOffset(n + 1)` is the length of a log of n frames. */
export function frameOffset(frame: number, pageSize: number): number {
  return WAL_HEADER_SIZE + (frame - 1) * frameSize(pageSize);
}

export function sameSalts(a: Salts, b: Salts): boolean {
  return a.salt1 === b.salt1 && a.salt2 === b.salt2;
}

export function sameSums(a: Sums, b: Sums): boolean {
  return a.sum1 === b.sum1 && a.sum2 === b.sum2;
}

/**
 * The checksum of `bytes[start, end)`, continued from `from`. `start` and the length are multiples
 * of 8 relative to the data, but `bytes` may lie anywhere in its buffer.
 */
export function checksum(
  bytes: Uint8Array,
  start: number,
  end: number,
  from: Sums,
  bigEndian: boolean,
): Sums {
  let s0 = from.sum1 | 0;
  let s1 = from.sum2 | 0;
  const at = bytes.byteOffset + start;
  if (!bigEndian && at % 4 === 0 && LITTLE_ENDIAN_MACHINE) {
    const words = new Int32Array(bytes.buffer, at, (end - start) >> 2);
    for (let i = 0; i < words.length; i += 2) {
      s0 = (s0 + (words[i] as number) + s1) | 0;
      s1 = (s1 + (words[i + 1] as number) + s0) | 0;
    }
  } else {
    const view = new DataView(bytes.buffer, at, end - start);
    for (let i = 0; i < view.byteLength; i += 8) {
      s0 = (s0 + view.getInt32(i, !bigEndian) + s1) | 0;
      s1 = (s1 + view.getInt32(i + 4, !bigEndian) + s0) | 0;
    }
  }
  return { sum1: s0 >>> 0, sum2: s1 >>> 0 };
}

const LITTLE_ENDIAN_MACHINE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Was the frame at `at` left without salts and sums? What was never written has no page number either. */
export function isUnsummed(bytes: Uint8Array, at: number): boolean {
  const { page, salt1, salt2, sum1, sum2 } = decodeFrameHeader(bytes, at);
  return page !== 0 && (salt1 | salt2 | sum1 | sum2) === 0;
}

/** The header at the start of `bytes`, or null if there is no valid one (an empty log). */
export function decodeWalHeader(bytes: Uint8Array): WalHeader | null {
  if (bytes.length < WAL_HEADER_SIZE) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, WAL_HEADER_SIZE);
  const magic = view.getUint32(0);
  if (magic !== WAL_MAGIC_LITTLE_ENDIAN && magic !== WAL_MAGIC_BIG_ENDIAN) return null;
  if (view.getUint32(4) !== WAL_VERSION) return null;
  const header: WalHeader = {
    bigEndian: magic === WAL_MAGIC_BIG_ENDIAN,
    pageSize: view.getUint32(8),
    checkpoint: view.getUint32(12),
    salt1: view.getUint32(16),
    salt2: view.getUint32(20),
    sum1: view.getUint32(24),
    sum2: view.getUint32(28),
  };
  if (!isPageSize(header.pageSize)) return null;
  // durable: a header that does not verify is none
  if (!sameSums(header, checksum(bytes, 0, 24, ZERO_SUMS, header.bigEndian))) return null;
  return header;
}

export const ZERO_SUMS: Sums = { sum1: 0, sum2: 0 };

/** Writes a header, little-endian checksums, and returns it as it would be decoded. */
export function encodeWalHeader(
  into: Uint8Array,
  { pageSize, checkpoint, salt1, salt2 }: Salts & { pageSize: number; checkpoint: number },
): WalHeader {
  const view = new DataView(into.buffer, into.byteOffset, WAL_HEADER_SIZE);
  view.setUint32(0, WAL_MAGIC_LITTLE_ENDIAN);
  view.setUint32(4, WAL_VERSION);
  view.setUint32(8, pageSize);
  view.setUint32(12, checkpoint);
  view.setUint32(16, salt1);
  view.setUint32(20, salt2);
  const sums = checksum(into, 0, 24, ZERO_SUMS, false);
  view.setUint32(24, sums.sum1);
  view.setUint32(28, sums.sum2);
  return { bigEndian: false, pageSize, checkpoint, salt1, salt2, ...sums };
}

export function decodeFrameHeader(bytes: Uint8Array, at: number): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEADER_SIZE);
  return {
    page: view.getUint32(0),
    commit: view.getUint32(4),
    salt1: view.getUint32(8),
    salt2: view.getUint32(12),
    sum1: view.getUint32(16),
    sum2: view.getUint32(20),
  };
}

/** The checksum that the frame at `at` should carry, given the sum of the frame before it. */
export function frameSums(
  bytes: Uint8Array,
  at: number,
  before: Sums,
  header: { readonly pageSize: number; readonly bigEndian: boolean },
): Sums {
  const head = checksum(bytes, at, at + 8, before, header.bigEndian);
  const page = at + FRAME_HEADER_SIZE;
  return checksum(bytes, page, page + header.pageSize, head, header.bigEndian);
}

/** Writes the frame header before a page that already stands at `at + 24`; returns its sums. */
export function encodeFrameHeader(
  into: Uint8Array,
  at: number,
  { page, commit }: { page: number; commit: number },
  before: Sums,
  header: WalHeader,
): Sums {
  const view = new DataView(into.buffer, into.byteOffset + at, FRAME_HEADER_SIZE);
  view.setUint32(0, page);
  view.setUint32(4, commit);
  view.setUint32(8, header.salt1);
  view.setUint32(12, header.salt2);
  const sums = frameSums(into, at, before, header);
  view.setUint32(16, sums.sum1);
  view.setUint32(20, sums.sum2);
  return sums;
}
