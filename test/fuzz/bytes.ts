/**
 * Damage to bytes. `damage` knows nothing of what they mean; `forge` knows a log's fields, and makes
 * the checksums right again behind most of its changes, so that they get past the first check.
 */
import {
  checksum,
  decodeWalHeader,
  encodeFrameHeader,
  FRAME_HEADER_SIZE,
  frameOffset,
  frameSize,
  isPageSize,
  WAL_HEADER_SIZE,
  WAL_MAGIC_BIG_ENDIAN,
  ZERO_SUMS,
} from "../../src/wal/format.ts";
import type { Random } from "../crash/random.ts";
import { resum } from "../support/logs.ts";

/** Values at which code that reads numbers goes wrong. */
const WORDS = [0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff, 512, 65536, 0x40000000 / 4096 + 1];
const SECTOR = 512;

/** A copy with one to three changes. @param other what may be spliced in */
export function damage(bytes: Buffer, other: Buffer, random: Random): Buffer {
  let out: Buffer = Buffer.from(bytes);
  for (let i = random.between(1, 3); i > 0; i--) out = random.pick(damages)(out, other, random);
  return out;
}

/** The same for a log; half of the changes are to its fields. */
export function forge(log: Buffer, other: Buffer, random: Random): Buffer {
  if (log.length < WAL_HEADER_SIZE || random.oneIn(2)) return damage(log, other, random);
  let out: Buffer = Buffer.from(log);
  for (let i = random.between(1, 3); i > 0; i--) out = random.pick(forgeries)(out, random);
  return random.oneIn(3) ? out : mended(out, random.oneIn(4));
}

// --- internal ---

type Damage = (bytes: Buffer, other: Buffer, random: Random) => Buffer;

const damages: readonly Damage[] = [
  function bit(bytes, _, random) {
    if (bytes.length > 0) bytes[at(bytes, random)]! ^= 1 << random.below(8);
    return bytes;
  },
  function byte(bytes, _, random) {
    if (bytes.length > 0) bytes[at(bytes, random)] = random.pick([0, 0xff, random.below(256)]);
    return bytes;
  },
  function word(bytes, _, random) {
    if (bytes.length < 4) return bytes;
    const where = random.below(bytes.length - 3) & (random.oneIn(4) ? ~0 : ~3);
    bytes.writeUInt32BE(random.pick(WORDS), where);
    if (random.oneIn(2)) bytes.subarray(where, where + 4).reverse();
    return bytes;
  },
  function early(bytes, _, random) {
    if (bytes.length > 0) bytes[random.below(Math.min(128, bytes.length))] = random.below(256);
    return bytes;
  },
  function truncate(bytes, _, random) {
    return Buffer.from(bytes.subarray(0, at(bytes, random)));
  },
  function extend(bytes, _, random) {
    const more = Buffer.alloc(random.pick([1, 24, SECTOR, 4096 + 24]), random.pick([0, 7]));
    return Buffer.concat([bytes, more]);
  },
  function splice(bytes, other, random) {
    if (bytes.length === 0 || other.length === 0) return bytes;
    const from = at(other, random);
    const length = Math.min(random.pick([8, 64, SECTOR, 4096]), other.length - from);
    return put(bytes, other.subarray(from, from + length), at(bytes, random));
  },
  function zeroBlock(bytes, _, random) {
    const from = at(bytes, random) & ~(SECTOR - 1);
    bytes.fill(0, from, Math.min(bytes.length, from + SECTOR * random.pick([1, 1, 8])));
    return bytes;
  },
  function exchange(bytes, _, random) {
    const [a, b] = [at(bytes, random) & ~(SECTOR - 1), at(bytes, random) & ~(SECTOR - 1)];
    const first = Buffer.from(bytes.subarray(a, a + SECTOR));
    return put(put(bytes, Buffer.from(bytes.subarray(b, b + SECTOR)), a), first, b);
  },
];

type Forgery = (log: Buffer, random: Random) => Buffer;

const forgeries: readonly Forgery[] = [
  function duplicate(log, random) {
    const [from, to] = [aFrame(log, random), aFrame(log, random)];
    const frame = log.subarray(from.at, from.at + from.size);
    return Buffer.concat([log.subarray(0, to.at), frame, log.subarray(to.at)]);
  },
  function overwrite(log, random) {
    const [from, to] = [aFrame(log, random), aFrame(log, random)];
    return put(log, Buffer.from(log.subarray(from.at, from.at + from.size)), to.at);
  },
  function exchange(log, random) {
    const [a, b] = [aFrame(log, random), aFrame(log, random)];
    const first = Buffer.from(log.subarray(a.at, a.at + a.size));
    return put(put(log, Buffer.from(log.subarray(b.at, b.at + b.size)), a.at), first, b.at);
  },
  function drop(log, random) {
    const frame = aFrame(log, random);
    return Buffer.concat([log.subarray(0, frame.at), log.subarray(frame.at + frame.size)]);
  },
  function pageNumber(log, random) {
    return setWord(log, aFrame(log, random).at, random.oneIn(2) ? random.below(40) : pick(random));
  },
  function commit(log, random) {
    const value = random.oneIn(2) ? random.below(60) : pick(random);
    return setWord(log, aFrame(log, random).at + 4, value);
  },
  function salts(log, random) {
    return setWord(log, aFrame(log, random).at + random.pick([8, 12]), pick(random));
  },
  function content(log, random) {
    const { at, size } = aFrame(log, random);
    return setWord(log, at + FRAME_HEADER_SIZE + (random.below(size - 24) & ~3), pick(random));
  },
  function header(log, random) {
    const field = random.pick([0, 4, 8, 12, 16, 20]);
    const value = field === 8 ? SECTOR << random.below(8) : pick(random);
    const out = setWord(log, field, value);
    const sums = checksum(out, 0, 24, ZERO_SUMS, out.readUInt32BE(0) === WAL_MAGIC_BIG_ENDIAN);
    return setWord(setWord(out, 24, sums.sum1), 28, sums.sum2);
  },
  function byteOrder(log, random) {
    return mended(log, random.oneIn(2));
  },
];

/** All sums right again; a log without a valid page size stays as it is. */
function mended(log: Buffer, bigEndian: boolean): Buffer {
  return log.length >= WAL_HEADER_SIZE && isPageSize(log.readUInt32BE(8))
    ? resum(log, bigEndian)
    : log;
}

/** The log with salts of its own choosing: SQLite's are random, and a seed has to repeat a run. */
export function withSalts(log: Buffer, salt1: number, salt2: number): Buffer {
  const header = decodeWalHeader(log);
  if (!header) return log;
  const out = Buffer.from(log);
  const size = frameSize(header.pageSize);
  const ours = { ...header, salt1, salt2 };
  setWord(setWord(out, 16, salt1), 20, salt2);
  const head = checksum(out, 0, 24, ZERO_SUMS, header.bigEndian);
  setWord(setWord(out, 24, head.sum1), 28, head.sum2);
  let sums = head;
  for (let at = WAL_HEADER_SIZE; at + size <= out.length; at += size) {
    const foreign = log.readUInt32BE(at + 8) !== header.salt1;
    if (foreign) break; // what an older generation left behind the end
    const frame = { page: log.readUInt32BE(at), commit: log.readUInt32BE(at + 4) };
    sums = encodeFrameHeader(out, at, frame, sums, ours);
  }
  return out;
}

function aFrame(log: Buffer, random: Random): { at: number; size: number } {
  const stated = log.readUInt32BE(8);
  const pageSize = isPageSize(stated) ? stated : SECTOR;
  const size = frameSize(pageSize);
  const frames = Math.max(1, Math.floor((log.length - WAL_HEADER_SIZE) / size));
  return { at: frameOffset(random.between(1, frames), pageSize), size };
}

function setWord(bytes: Buffer, at: number, value: number): Buffer {
  if (at + 4 <= bytes.length) bytes.writeUInt32BE(value >>> 0, at);
  return bytes;
}

function pick(random: Random): number {
  return random.oneIn(3) ? random.below(2 ** 32) : random.pick(WORDS);
}

function at(bytes: Buffer, random: Random): number {
  return bytes.length === 0 ? 0 : random.below(bytes.length);
}

/** Over what is there, no further than its end. */
function put(into: Buffer, bytes: Uint8Array, where: number): Buffer {
  into.set(bytes.subarray(0, Math.max(0, into.length - where)), Math.min(where, into.length));
  return into;
}
