/**
 * What a payload goes through before it leaves the process, and back: compressed where that pays, then
 * sealed if there are keys.
 *
 * The seal is AES-256-GCM with a random nonce. It covers the payload and the header, and a header says where its
 * message belongs: of which database, writer and timeline, and from which frame and sums to which. So one that
 * was changed, moved, or taken from elsewhere does not open, and one that is missing leaves a gap in the chain. That
 * the last messages of a stream are withheld cannot be seen from what is left: compare with the position
 * that is wanted. Random nonces allow 2^32 messages a key; exchange it before.
 *
 * Who has keys accepts nothing that is not sealed: else whoever can write to the place could leave the seal out.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import zlib from "node:zlib";
import { codes, LockstepError } from "../errors.ts";
import type { Keys } from "./keys.ts";
import {
  noSegment,
  type SegmentHeader,
  sealedHeader,
  type Wrapped,
  type Wrapping,
} from "./segment.ts";

/** The bytes that a seal adds to a payload. */
export const TAG_SIZE = 16;

/** The most that a message may hold before it was compressed: a limit for what is made of damaged ones. */
export const PLAIN_BYTES_MAX = 256 << 20;

export interface Wrap {
  readonly keys: Keys | null;
  /** Compress what pays? Without zstd in this Node.js nothing is. */
  readonly compress: boolean;
}

/** Bytes on their way out, bound to what `bindingOf` says. */
export function wrapBytes(
  plain: Uint8Array,
  { keys, compress }: Wrap,
  bindingOf: (wrapping: Wrapping) => Uint8Array,
): Wrapped {
  const packed = compress ? squeeze(plain) : null;
  const payload = packed ?? plain;
  const wrapping = { compressed: packed !== null, plainBytes: plain.length };
  if (!keys) return { ...wrapping, sealed: null, payload };
  const sealed = { key: keys.newest, nonce: randomBytes(NONCE_SIZE) };
  const cipher = createCipheriv(CIPHER, keyOf(keys, sealed.key), sealed.nonce);
  cipher.setAAD(bindingOf({ ...wrapping, sealed })); // durable: a seal binds the payload to its place
  const parts = [cipher.update(payload), cipher.final(), cipher.getAuthTag()];
  return { ...wrapping, sealed, payload: Buffer.concat(parts) };
}

/**
 * And back.
 * @param where what the message is called in errors
 * @throws LockstepError REPLICA_CHANGED if it is not what was wrapped, or not sealed; BAD_OPTION if it takes a key
 *   that is not there, or a newer Node.js
 */
export function unwrapBytes(
  wrapped: Wrapped,
  keys: Keys | null,
  where: string,
  bindingOf: (wrapping: Wrapping) => Uint8Array,
): Uint8Array {
  const { sealed, compressed, plainBytes } = wrapped;
  let { payload } = wrapped;
  // durable: who has keys takes nothing that is not sealed
  if (keys && !sealed) throw noSegment(where, "is not sealed, and there are keys");
  if (sealed) {
    if (!keys) throw noKey(where, sealed.key, "no keys were given");
    if (!keys.get(sealed.key)) throw noKey(where, sealed.key, "it is not among the keys");
    const end = payload.length - TAG_SIZE;
    if (end < 0) throw noSegment(where, BROKEN);
    const decipher = createDecipheriv(CIPHER, keyOf(keys, sealed.key), sealed.nonce);
    decipher.setAAD(bindingOf(wrapped));
    decipher.setAuthTag(payload.subarray(end));
    try {
      payload = Buffer.concat([decipher.update(payload.subarray(0, end)), decipher.final()]);
    } catch {
      throw noSegment(where, BROKEN);
    }
  }
  const plain = compressed ? unsqueeze(payload, plainBytes, where) : payload;
  if (plain.length !== plainBytes) throw noSegment(where, "does not have the length that it says");
  return plain;
}

/** A segment's payload on its way out. */
export function wrap(header: SegmentHeader, plain: Uint8Array, options: Wrap): Wrapped {
  return wrapBytes(plain, options, (wrapping) => sealedHeader(header, wrapping));
}

/** A segment's payload as it was. @throws as `unwrapBytes` */
export function unwrap(
  header: SegmentHeader,
  wrapped: Wrapped,
  keys: Keys | null,
  where: string,
): Uint8Array {
  return unwrapBytes(wrapped, keys, where, (wrapping) => sealedHeader(header, wrapping));
}

// --- internal ---

const CIPHER = "aes-256-gcm";
const NONCE_SIZE = 12;
const BROKEN = "does not open: it was changed, comes from another place, or its key is another";
/** What compression must leave of 100 bytes to be worth what reading it costs. */
const PAYS_PERCENT = 95;

function keyOf(keys: Keys, number: number): Uint8Array {
  return keys.get(number) as Uint8Array;
}

/** Null if it does not pay. */
function squeeze(plain: Uint8Array): Uint8Array | null {
  if (typeof zlib.zstdCompressSync !== "function") return null;
  const { ZSTD_c_compressionLevel: level } = zlib.constants;
  const packed = zlib.zstdCompressSync(plain, { params: { [level]: 1 } });
  return packed.length * 100 <= plain.length * PAYS_PERCENT ? packed : null;
}

function unsqueeze(packed: Uint8Array, length: number, where: string): Uint8Array {
  if (typeof zlib.zstdDecompressSync !== "function") {
    throw new LockstepError(codes.BAD_OPTION, {
      copy: where,
      what: "It is compressed with zstd, which this Node.js does not have",
      state: "Nothing was changed",
      next: "Read it with Node.js 22.15 or later",
    });
  }
  if (length > PLAIN_BYTES_MAX) throw noSegment(where, "says that it is too large");
  try {
    return zlib.zstdDecompressSync(packed, { maxOutputLength: Math.max(length, 1) });
  } catch {
    throw noSegment(where, "cannot be decompressed");
  }
}

function noKey(where: string, key: number, why: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: where,
    what: `It is sealed with key ${key}: ${why}`,
    state: "Nothing was changed",
    next: "Give the keys of this stream: option `keys`, or --keys",
  });
}
