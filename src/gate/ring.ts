/**
 * The ring that carries frames from the committing thread to every mirror worker.
 *
 *   record := header payload padding        all fields u32 in the machine's order, 16-byte aligned
 *   header    0 kind    4 payload bytes   8 first frame  12 frames    16 page size
 *            20 salt1  24 salt2          28 sum1        32 sum2      36 ends a transaction (0/1)
 *
 *   FRAMES   the payload is `frames` frames as they stand in the primary's log, preceded by the
 *            log's 32-byte header if `first frame` is 1. If the record ends a transaction, sum1 and
 *            sum2 are the log's sums there, as SQLite's wal-index has them.
 *   SKIP     no payload: the rest of the ring up to its end is unused, go on at its start.
 *
 * One producer, many consumers, each with a TAIL of its own (slots.ts). A record lies in one piece.
 * Its payload starts on a multiple of 16, so that the checksum can read whole words.
 */
import { invariant } from "../invariant.ts";
import type { Salts, Sums } from "../wal/format.ts";

export const RECORD_HEADER_SIZE = 48;
const ALIGN = 16;
const FRAMES = 1;
const SKIP = 2;

export interface FramesRecord extends Salts, Sums {
  readonly first: number;
  readonly frames: number;
  readonly pageSize: number;
  /** Is the last frame the end of a transaction? Then sum1 and sum2 are the sums there. */
  readonly ends: boolean;
}

/** The payload of a record: a window on the ring's own bytes. */
export interface Window {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly length: number;
}

/** The number of bytes a record with this payload takes. */
function recordSize(payload: number): number {
  return RECORD_HEADER_SIZE + Math.ceil(payload / ALIGN) * ALIGN;
}

export class RingWriter {
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  #head = 0;
  #published = 0;

  constructor(ring: Uint8Array<SharedArrayBuffer>) {
    invariant((ring.length & (ring.length - 1)) === 0, "a ring's size is a power of two");
    this.#bytes = ring;
    this.#words = new Uint32Array(ring.buffer);
  }

  /** How many bytes went in; it does not wrap, as what is published of it does (slots.ts). */
  get head(): number {
    return this.#head;
  }

  /** How many bytes the workers have not been shown yet. */
  get unpublished(): number {
    return (this.#head - this.#published) >>> 0;
  }

  /** In bytes. */
  get size(): number {
    return this.#bytes.length;
  }

  /** What is in the ring is about to be shown: returns its head. */
  publish(): number {
    this.#published = this.#head;
    return this.#head;
  }

  /** The largest payload one record may have: a quarter, so that producer and consumers overlap. */
  get maxPayload(): number {
    return this.#bytes.length / 4 - RECORD_HEADER_SIZE;
  }

  /** How many bytes must be free so that this payload can be reserved now. */
  needs(payload: number): number {
    const size = recordSize(payload);
    const toEnd = this.#bytes.length - (this.#head & (this.#bytes.length - 1));
    return size <= toEnd ? size : toEnd + size;
  }

  /** Free bytes, when the slowest consumer is at `tail`. */
  free(tail: number): number {
    return this.#bytes.length - ((this.#head - tail) >>> 0);
  }

  /** Where the payload of the next record goes. The caller has made sure that `needs` are free. */
  reserve(payload: number): Window {
    const mask = this.#bytes.length - 1;
    if (recordSize(payload) > this.#bytes.length - (this.#head & mask)) {
      this.#words[(this.#head & mask) >> 2] = SKIP;
      this.#head += this.#bytes.length - (this.#head & mask);
    }
    const at = (this.#head & mask) + RECORD_HEADER_SIZE;
    return { bytes: this.#bytes, at, length: payload };
  }

  /** Completes the reserved record; it becomes visible when `head` is published. */
  commit(window: Window, record: FramesRecord): void {
    const word = (window.at - RECORD_HEADER_SIZE) >> 2;
    const words = this.#words;
    words[word] = FRAMES;
    words[word + 1] = window.length;
    words[word + 2] = record.first;
    words[word + 3] = record.frames;
    words[word + 4] = record.pageSize;
    words[word + 5] = record.salt1;
    words[word + 6] = record.salt2;
    words[word + 7] = record.sum1;
    words[word + 8] = record.sum2;
    words[word + 9] = record.ends ? 1 : 0;
    this.#head += recordSize(window.length);
  }
}

export class RingReader {
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  #tail: number;

  /** @param tail where to begin */
  constructor(ring: Uint8Array<SharedArrayBuffer>, tail: number) {
    this.#bytes = ring;
    this.#words = new Uint32Array(ring.buffer);
    this.#tail = tail;
  }

  get tail(): number {
    return this.#tail;
  }

  /** The next record before `head`, or null. Its window stays valid until its tail is confirmed. */
  next(head: number): { record: FramesRecord; window: Window } | null {
    const mask = this.#bytes.length - 1;
    if (this.#tail === head) return null;
    if (this.#words[(this.#tail & mask) >> 2] === SKIP) {
      this.#tail = (this.#tail + this.#bytes.length - (this.#tail & mask)) >>> 0;
      if (this.#tail === head) return null;
    }
    const at = this.#tail & mask;
    const words = this.#words;
    const word = at >> 2;
    invariant(words[word] === FRAMES, "a record in the ring has a known kind", { at });
    const length = words[word + 1] as number;
    const record: FramesRecord = {
      first: words[word + 2] as number,
      frames: words[word + 3] as number,
      pageSize: words[word + 4] as number,
      salt1: words[word + 5] as number,
      salt2: words[word + 6] as number,
      sum1: words[word + 7] as number,
      sum2: words[word + 8] as number,
      ends: words[word + 9] === 1,
    };
    this.#tail = (this.#tail + recordSize(length)) >>> 0;
    return { record, window: { bytes: this.#bytes, at: at + RECORD_HEADER_SIZE, length } };
  }
}
