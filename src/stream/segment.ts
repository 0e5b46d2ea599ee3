/**
 * The messages of a stream, and their format. A stream carries the commits of one database, in order; each
 * message is a *segment*: 128 bytes of header, then a payload. Integers are little-endian.
 *
 *      0  4  magic "LKSG"
 *      4  2  version, 1
 *      6  1  kind: 1 frames, 2 snapshot, 3 open
 *      7  1  flags: 1 the payload is compressed (zstd), 2 it is sealed (seal.ts), 4 `ends`: whatever comes
 *            before or after, the stream holds the content of its position
 *      8  8  writer: a random number that each opening of a primary draws
 *     16 16  database id, a UUID
 *     32  4  timeline
 *     36  4  page size
 *     40  8  salts of the generation
 *     48  4  first frame          position = the salts, the last frame and the sums after it;
 *     52  4  frames               of a snapshot or an open: frames is 0, and it stands at `first - 1`
 *     56  8  sums before the first frame
 *     64  8  sums after the last frame
 *     72 24  base: the position of the content under the generation's first frame, as
 *            timeline, salts, frame, sums; zeroes if there is none on record
 *     96  4  bytes of the payload before it was compressed and sealed
 *    100  4  number of the key that it is sealed with, else 0
 *    104 12  nonce of the seal, else 0
 *    116  8  place: the number under which it was written; 0 in a promotion, which goes to the end, wherever that is
 *    124  4  CRC-32 of the message, these four bytes taken as 0
 *
 * frames    The payload is a piece of a write-ahead log, byte for byte: frames `first` and on; before frame 1 the
 *           log's header. `ends`: the last frame ends a transaction, and with it everything since the last such
 *           segment counts. A transaction that is larger than a message travels in pieces; without
 *           its end no piece counts.
 * snapshot  The payload is JSON, see `SnapshotNote`: an object beside the stream is a whole image of the database
 *           at this position. It can be used from the moment at which the log of its generation, which
 *           begins at `logFrom`, has been read up to its position. `ends` if the stream begins anew
 *           with it and nothing is to be installed first.
 * open      The payload is JSON, see `OpenNote`: from here on only segments of this writer count, and
 *           pieces of a transaction that has not ended do not. Its timeline is not lower than the one before;
 *           that of a promotion is higher, or it is void, as if it were not there. `ends` where the writer knew
 *           the position: not in a promotion, nor in a stream that holds nothing yet.
 *
 * A stream's frames make one chain: the sums before a segment are those after the last one that counts; frame 1's
 * are those of the log's header, and its base is the position of the last frame that counts. The only
 * exception is the log after a snapshot (`SnapshotNote.install`), which begins anew.
 *
 * The CRC finds damage; where somebody may mean to deceive, the seal binds header and payload together, and so a
 * message to its place.
 */
import { crc32 } from "node:zlib";
import { codes, LockstepError } from "../errors.ts";
import { invariant } from "../invariant.ts";
import type { Position } from "../lineage/position.ts";
import type { Salts, Sums } from "../wal/format.ts";

export const SEGMENT_HEADER_SIZE = 128;

export const kinds = { FRAMES: 1, SNAPSHOT: 2, OPEN: 3 } as const;
export type Kind = (typeof kinds)[keyof typeof kinds];

/** A segment's header: what it says but for its payload. */
export interface SegmentHeader extends Salts {
  readonly kind: Kind;
  /** 16 hexadecimal digits. */
  readonly writer: string;
  readonly databaseId: string;
  readonly timeline: number;
  readonly pageSize: number;
  readonly first: number;
  readonly frames: number;
  readonly before: Sums;
  readonly after: Sums;
  readonly base: Position | null;
  readonly ends: boolean;
  /** The number of its message; 0 in a promotion. */
  readonly place: number;
}

/** What a payload went through on its way. */
export interface Wrapping {
  readonly compressed: boolean;
  /** Of the payload as it was. */
  readonly plainBytes: number;
  readonly sealed: { readonly key: number; readonly nonce: Uint8Array } | null;
}

/** A payload as it is in the message, and how it came to be that. */
export interface Wrapped extends Wrapping {
  readonly payload: Uint8Array;
}

/** The payload of a snapshot. */
export interface SnapshotNote {
  readonly object: string;
  readonly pages: number;
  /** Of the plain image. */
  readonly bytes: number;
  readonly sha256: string;
  /** The message with frame 1 of its generation; null: the stream begins anew with this. */
  readonly logFrom: number | null;
  /**
   * Of one with which the stream begins anew, for it did not hold what leads to this position: how many frames of the
   * log, up to it, follow this message before it counts. 0: it counts at once.
   */
  readonly install: number;
}

/** The payload of an open. */
export interface OpenNote {
  readonly how: "opened" | "promoted";
  /** For people. */
  readonly host: string;
  readonly pid: number;
  readonly at: string;
}

/** Where a stream stands after a segment that counts. */
export function positionOf(segment: SegmentHeader): Position {
  const { timeline, salt1, salt2, first, frames, after } = segment;
  return { timeline, salt1, salt2, frame: first - 1 + frames, ...after };
}

/** Does it stand where it was written for? A promotion stands anywhere. */
export function isInPlace({ kind, place }: SegmentHeader, sequence: number): boolean {
  return place === sequence || (kind === kinds.OPEN && place === 0);
}

export function encodeSegment(header: SegmentHeader, wrapped: Wrapped): Uint8Array {
  const { payload, sealed } = wrapped;
  const bytes = Buffer.alloc(SEGMENT_HEADER_SIZE + payload.length);
  writeHeader(bytes, header, wrapped);
  if (sealed) {
    bytes.writeUInt32LE(sealed.key, 100);
    bytes.set(sealed.nonce, 104);
  }
  bytes.set(payload, SEGMENT_HEADER_SIZE);
  bytes.writeUInt32LE(checksumOf(bytes), 124);
  return bytes;
}

/**
 * What a seal covers beside the payload: the header, but for the CRC.
 * @param header what `decodeSegment` gives, or what `encodeSegment` is about to be given
 */
export function sealedHeader(header: SegmentHeader, wrapping: Wrapping): Uint8Array {
  const bytes = Buffer.alloc(SEGMENT_HEADER_SIZE);
  writeHeader(bytes, header, wrapping);
  bytes.writeUInt32LE(wrapping.sealed?.key ?? 0, 100);
  return bytes;
}

/**
 * @param where what the message is called in errors
 * @throws LockstepError REPLICA_CHANGED if this is no segment, or not as it was written
 */
export function decodeSegment(
  message: Uint8Array,
  where: string,
): { readonly header: SegmentHeader; readonly wrapped: Wrapped } {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length);
  if (bytes.length < SEGMENT_HEADER_SIZE || bytes.toString("latin1", 0, 4) !== MAGIC) {
    throw noSegment(where, "is none of Lockstep's");
  }
  const version = bytes.readUInt16LE(4);
  if (version !== VERSION) throw noSegment(where, `has the unknown format ${version}`);
  if (checksumOf(bytes) !== bytes.readUInt32LE(124)) {
    throw noSegment(where, "is damaged: its checksum is wrong");
  }
  const word = (at: number): number => bytes.readUInt32LE(at);
  const sums = (at: number): Sums => ({ sum1: word(at), sum2: word(at + 4) });
  const base: Position = {
    ...{ timeline: word(72), salt1: word(76), salt2: word(80), frame: word(84) },
    ...sums(88),
  };
  const flags = bytes.readUInt8(7);
  return {
    header: {
      kind: kindOf(bytes.readUInt8(6), where),
      writer: bytes.toString("hex", 8, 16),
      databaseId: uuidOf(bytes.toString("hex", 16, 32)),
      timeline: word(32),
      pageSize: word(36),
      ...{ salt1: word(40), salt2: word(44), first: word(48), frames: word(52) },
      before: sums(56),
      after: sums(64),
      base: base.timeline === 0 ? null : base,
      ends: (flags & ENDS) !== 0,
      place: Number(bytes.readBigUInt64LE(116)),
    },
    wrapped: {
      compressed: (flags & COMPRESSED) !== 0,
      plainBytes: word(96),
      sealed: flags & SEALED ? { key: word(100), nonce: bytes.subarray(104, 116) } : null,
      payload: bytes.subarray(SEGMENT_HEADER_SIZE),
    },
  };
}

export function noSegment(where: string, why: string): LockstepError {
  return new LockstepError(codes.REPLICA_CHANGED, {
    copy: where,
    what: `A message of the stream ${why}`,
    state: "What stands before it was not touched, and nothing after it was used",
    next: "See who else may write there; restore to a position before it, or start a new stream: lockstep init",
  });
}

// --- internal ---

const MAGIC = "LKSG";
const VERSION = 1;
const COMPRESSED = 1;
const SEALED = 2;
const ENDS = 4;
const ZERO = new Uint8Array(4);

function writeHeader(bytes: Buffer, header: SegmentHeader, wrapping: Wrapping): void {
  const { base, databaseId } = header;
  const { compressed, sealed, plainBytes } = wrapping;
  const id = databaseId.replaceAll("-", "");
  invariant(/^[\da-f]{32}$/.test(id), "a database id is a UUID", { databaseId });
  invariant(base === null || base.timeline > 0, "timelines count from 1", { base });
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt16LE(VERSION, 4);
  bytes.writeUInt8(header.kind, 6);
  const flags = (compressed ? COMPRESSED : 0) | (sealed ? SEALED : 0) | (header.ends ? ENDS : 0);
  bytes.writeUInt8(flags, 7);
  bytes.write(header.writer, 8, "hex");
  bytes.write(id, 16, "hex");
  const { timeline, pageSize, salt1, salt2, first, frames, before, after } = header;
  const under = base ?? { timeline: 0, salt1: 0, salt2: 0, frame: 0, sum1: 0, sum2: 0 };
  const words = [
    ...[timeline, pageSize, salt1, salt2, first, frames],
    ...[before.sum1, before.sum2, after.sum1, after.sum2],
    ...[under.timeline, under.salt1, under.salt2, under.frame, under.sum1, under.sum2],
    plainBytes,
  ];
  for (const [i, word] of words.entries()) bytes.writeUInt32LE(word, 32 + 4 * i);
  bytes.writeBigUInt64LE(BigInt(header.place), 116);
}

function checksumOf(bytes: Uint8Array): number {
  const header = crc32(ZERO, crc32(bytes.subarray(0, 124)));
  return crc32(bytes.subarray(SEGMENT_HEADER_SIZE), header);
}

function kindOf(byte: number, where: string): Kind {
  const kind = Object.values(kinds).find((each) => each === byte);
  if (!kind) throw noSegment(where, `is of the unknown kind ${byte}`);
  return kind;
}

function uuidOf(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
