/**
 * Snapshots: whole images of the database, as objects beside the stream. A message of the stream (`SnapshotNote`)
 * says what each is; one without a note is what was left of a snapshot that was cut off.
 *
 *     name   := after "-" frame "-" random      after: the last message when it was begun, 12 digits: its note
 *                                               comes behind that. frame: of its position. random: 8 hex digits
 *     object := chunk*                          integers are little-endian
 *     chunk  := 0 4 magic "LKSC"    4 4 its number, from 0      8 4 bytes of it as it was
 *              12 4 bytes of payload   16 1 flags: 1 compressed (zstd), 2 sealed, 4 the last
 *              17 3 0   20 4 number of the key, else 0   24 12 nonce, else 0   36 payload
 *
 * A chunk holds 1 MiB of the image, the last one what is left. Its seal covers its first 24 bytes and the object's
 * name, so that no chunk fits elsewhere; the note has the SHA-256 of the image.
 */
import { createHash, randomBytes } from "node:crypto";
import { codes, LockstepError } from "../errors.ts";
import { Ahead } from "./ahead.ts";
import { inPieces } from "./in-pieces.ts";
import type { Keys } from "./keys.ts";
import type { StreamLog } from "./log.ts";
import { unwrapBytes, type Wrap, wrapBytes } from "./seal.ts";
import type { SnapshotNote, Wrapped, Wrapping } from "./segment.ts";

export interface SnapshotOptions extends Wrap {
  /** The number of the stream's last message. */
  readonly after: number;
  /** Of the image's position. */
  readonly frame: number;
  readonly pageSize: number;
  readonly signal: AbortSignal;
}

/**
 * Puts an image beside the stream; its object is there and whole when this resolves.
 * @param image in pieces of any size
 * @returns what the note says of it; where its log is the writer knows
 */
export async function takeSnapshot(
  log: StreamLog,
  image: AsyncIterable<Uint8Array>,
  { after, frame, pageSize, signal, ...wrap }: SnapshotOptions,
): Promise<Omit<SnapshotNote, "logFrom" | "install">> {
  const object = `${String(after).padStart(12, "0")}-${frame}-${randomBytes(4).toString("hex")}`;
  const digest = createHash("sha256");
  let bytes = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    let number = 0;
    let held: Uint8Array | null = null; // until it is known whether it is the last
    for await (const piece of inPieces(image, CHUNK_BYTES)) {
      digest.update(piece);
      bytes += piece.length;
      if (held) yield encodeChunk(object, number++, held, false, wrap);
      held = piece;
    }
    yield encodeChunk(object, number, held ?? new Uint8Array(), true, wrap);
  }
  await log.put(object, chunks(), signal);
  return { object, pages: bytes / pageSize, bytes, sha256: digest.digest("hex") };
}

/**
 * The image, in order. Nothing of it may be used before the last piece has come without an error.
 * @throws LockstepError VERIFY if it is not what the note says; REPLICA_GONE if it is not there
 */
export async function* readSnapshot(
  log: StreamLog,
  { object, bytes, sha256 }: SnapshotNote,
  keys: Keys | null,
): AsyncGenerator<Uint8Array> {
  const digest = createHash("sha256");
  let total = 0;
  const stored = new Ahead(log.get(object), ({ length }) => length, AHEAD_BYTES);
  for await (const piece of decodeChunks(stored, object, keys)) {
    digest.update(piece);
    total += piece.length;
    if (total > bytes) break;
    yield piece;
  }
  // durable: an image is what was taken
  if (total !== bytes || digest.digest("hex") !== sha256) {
    throw damaged(`${log.name} snapshot ${object}`, "is not the image that its note speaks of");
  }
}

/** The number of the message behind which an object's note is; null if it is no snapshot's name. */
export function beganAfter(object: string): number | null {
  const match = /^(\d{12})-\d+-[\da-f]{8}$/.exec(object);
  return match ? Number(match[1]) : null;
}

// --- internal ---

const CHUNK_BYTES = 1 << 20;
/** How much of an image may wait to be verified. */
const AHEAD_BYTES = 8 << 20;
const HEAD_SIZE = 36;
const BOUND_SIZE = 24;
const MAGIC = "LKSC";
const COMPRESSED = 1;
const SEALED = 2;
const LAST = 4;

interface Head {
  readonly number: number;
  readonly last: boolean;
}

function encodeChunk(
  object: string,
  number: number,
  plain: Uint8Array,
  last: boolean,
  wrap: Wrap,
): Uint8Array {
  const head = { number, last };
  const wrapped = wrapBytes(plain, wrap, (wrapping) => bindingOf(object, head, wrapping));
  const { payload, sealed } = wrapped;
  const bytes = Buffer.alloc(HEAD_SIZE + payload.length);
  bytes.set(headOf(head, wrapped));
  bytes.writeUInt32LE(payload.length, 12);
  if (sealed) bytes.set(sealed.nonce, BOUND_SIZE);
  bytes.set(payload, HEAD_SIZE);
  return bytes;
}

/** The first 24 bytes, but for the payload's length, which the seal knows without that. */
function headOf({ number, last }: Head, { compressed, sealed, plainBytes }: Wrapping): Buffer {
  const bytes = Buffer.alloc(BOUND_SIZE);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt32LE(number, 4);
  bytes.writeUInt32LE(plainBytes, 8);
  bytes[16] = (compressed ? COMPRESSED : 0) | (sealed ? SEALED : 0) | (last ? LAST : 0);
  bytes.writeUInt32LE(sealed?.key ?? 0, 20);
  return bytes;
}

function bindingOf(object: string, head: Head, wrapping: Wrapping): Uint8Array {
  return Buffer.concat([headOf(head, wrapping), Buffer.from(object)]);
}

async function* decodeChunks(
  stored: AsyncIterable<Uint8Array>,
  object: string,
  keys: Keys | null,
): AsyncGenerator<Uint8Array> {
  const where = `snapshot ${object}`;
  let rest: Uint8Array = new Uint8Array();
  let number = 0;
  let last = false;
  for await (const part of stored) {
    rest = rest.length === 0 ? part : Buffer.concat([rest, part]);
    for (let chunk = nextChunk(rest, where); chunk; chunk = nextChunk(rest, where)) {
      // durable: chunks in their order, and none behind the last
      if (chunk.number !== number || last) throw damaged(where, "has its chunks in another order");
      const { wrapped } = chunk;
      yield unwrapBytes(wrapped, keys, where, (wrapping) => bindingOf(object, chunk, wrapping));
      rest = rest.subarray(HEAD_SIZE + wrapped.payload.length);
      last = chunk.last;
      number++;
    }
  }
  if (!last || rest.length > 0) throw damaged(where, "ends too early");
}

/** The chunk at the beginning of `bytes`; null if not all of it is there. */
function nextChunk(given: Uint8Array, where: string): (Head & { wrapped: Wrapped }) | null {
  if (given.length < HEAD_SIZE) return null;
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.length);
  const length = bytes.readUInt32LE(12);
  const plainBytes = bytes.readUInt32LE(8);
  const isChunk = bytes.toString("latin1", 0, 4) === MAGIC;
  if (!isChunk || plainBytes > CHUNK_BYTES || length > 2 * CHUNK_BYTES) {
    throw damaged(where, "has a chunk that makes no sense");
  }
  if (bytes.length < HEAD_SIZE + length) return null;
  const flags = bytes[16] as number;
  const sealed =
    flags & SEALED
      ? { key: bytes.readUInt32LE(20), nonce: bytes.subarray(BOUND_SIZE, HEAD_SIZE) }
      : null;
  return {
    number: bytes.readUInt32LE(4),
    last: (flags & LAST) !== 0,
    wrapped: {
      compressed: (flags & COMPRESSED) !== 0,
      plainBytes,
      sealed,
      payload: bytes.subarray(HEAD_SIZE, HEAD_SIZE + length),
    },
  };
}

function damaged(where: string, why: string): LockstepError {
  return new LockstepError(codes.VERIFY, {
    copy: where,
    what: `It ${why}`,
    state: "Nothing that was read of it was used",
    next: "Use another snapshot: restore to an earlier position; see what happened to the place that keeps it",
  });
}
