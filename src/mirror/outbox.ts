/**
 * Frames on their way into a stream: verified, and packed into pieces that fit into a message. Many small
 * commits share one, as many as have room; a large one takes several.
 *
 * Invariants:
 *   - nothing goes out that does not continue the checksum chain of what went out before;
 *   - a piece that ends a transaction ends with it: what follows is another's.
 */
import { codes, LockstepError } from "../errors.ts";
import type { FramesRecord, Window } from "../gate/ring.ts";
import { invariant } from "../invariant.ts";
import type { Position } from "../lineage/position.ts";
import type { Piece } from "../stream/writer.ts";
import { walkFrames } from "../wal/chain.ts";
import {
  decodeWalHeader,
  frameSize,
  type Sums,
  sameSalts,
  sameSums,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "../wal/format.ts";

export class Outbox {
  readonly #bytes: Uint8Array;
  #length = 0;
  /** The generation that is being sent, and the content under its first frame. */
  #header: WalHeader | null;
  #base: Position | null;
  /** What went in. */
  #position: Position;
  /** The first frame in it, and the sums before that. */
  #first: number;
  #before: Sums;
  /** The last frame in it that ends a transaction. */
  #end: End | null = null;
  /** Of a log that is sent once more: no transaction before this frame counts. */
  #countsFrom = 0;

  /** @param capacity in bytes; a frame and a header fit in */
  constructor(
    capacity: number,
    at: {
      readonly position: Position;
      readonly header: WalHeader | null;
      readonly base: Position | null;
    },
  ) {
    this.#bytes = new Uint8Array(capacity);
    this.#header = at.header;
    this.#base = at.base;
    this.#position = at.position;
    this.#first = at.position.frame + 1;
    this.#before = at.position;
  }

  /** The end of what went in. */
  get position(): Position {
    return this.#position;
  }

  /** The content under its generation's first frame. */
  get base(): Position | null {
    return this.#base;
  }

  get pageSize(): number {
    return this.#header?.pageSize ?? 0;
  }

  /** How many frames are in it. */
  get waiting(): number {
    return this.#position.frame - this.#first + 1;
  }

  /** The first frame that has not gone in, of this generation. */
  next(generation: { readonly salt1: number; readonly salt2: number }): number {
    return sameSalts(this.#position, generation) ? this.#position.frame + 1 : 1;
  }

  /** Another timeline has begun here. */
  onTimeline(timeline: number): void {
    this.#position = { ...this.#position, timeline };
  }

  /**
   * The log of a generation is about to be sent from its first frame although it is not what follows here.
   * Up to `to` it counts only as a whole.
   */
  beginAnew(to: Position, base: Position | null): void {
    invariant(this.#length === 0, "nothing else is on its way");
    this.#header = null;
    this.#base = base;
    this.#countsFrom = to.frame;
    this.#position = { ...to, frame: 0 };
  }

  /**
   * Takes what of a record has not gone in yet. Yields what must be sent before the rest has room; each piece's
   * bytes are good until the next is asked for.
   */
  *add(record: FramesRecord, window: Window): Generator<Piece> {
    let at = window.at;
    if (!this.#header || !sameSalts(this.#header, record)) {
      yield* this.rest();
      this.#begin(record, window);
    }
    const header = this.#header as WalHeader;
    invariant(header.pageSize === record.pageSize, "a generation has one page size", { record });
    const have = this.#position.frame;
    invariant(record.first <= have + 1, "frames are delivered without a gap", { record, have });
    if (record.first === 1) at += WAL_HEADER_SIZE;
    const size = frameSize(header.pageSize);
    for (let frame = record.first; frame < record.first + record.frames; frame++, at += size) {
      if (frame <= have) continue;
      const withHeader = frame === 1 ? WAL_HEADER_SIZE : 0;
      if (this.#length + withHeader + size > this.#bytes.length) yield* this.message();
      if (withHeader) this.#copy(window.bytes, window.at, WAL_HEADER_SIZE);
      this.#copy(window.bytes, at, size);
      this.#verify(frame, header);
    }
    const isHere = this.#position.frame === record.first + record.frames - 1;
    if (record.ends && isHere && !sameSums(this.#position, record)) {
      throw broken("the log ends in another checksum");
    }
  }

  /** All that is left. */
  *rest(): Generator<Piece> {
    while (this.#length > 0) yield* this.message();
  }

  /**
   * What the next message takes: up to the end of the last transaction that has ended; if none has, the beginning
   * of one. What follows that end stays, and shares a message with what is added.
   */
  *message(): Generator<Piece> {
    if (this.#length === 0) return;
    const ends = this.#end !== null;
    const end = this.#end ?? { ...this.#position, length: this.#length };
    yield this.#piece(end, ends);
    this.#bytes.copyWithin(0, end.length, this.#length);
    this.#length -= end.length;
    this.#first = end.frame + 1;
    this.#before = end;
    this.#end = null;
  }

  #piece({ frame, length, sum1, sum2 }: End, ends: boolean): Piece {
    const [first, before] = [this.#first, this.#before];
    return {
      ...{ first, frames: frame - first + 1, after: { sum1, sum2 }, ends },
      before: { sum1: before.sum1, sum2: before.sum2 },
      ...{ log: this.#header as WalHeader, base: this.#base },
      bytes: this.#bytes.subarray(0, length),
    };
  }

  /** A record of another generation than the one before. */
  #begin(record: FramesRecord, { bytes, at }: Window): void {
    invariant(record.first === 1, "a new generation begins at its first frame", { record });
    const header = decodeWalHeader(bytes.subarray(at, at + WAL_HEADER_SIZE));
    if (!header || !sameSalts(header, record)) throw broken("the log's header is not valid");
    const { timeline } = this.#position;
    const { salt1, salt2, sum1, sum2 } = header;
    if (this.#countsFrom === 0) this.#base = this.#position;
    this.#header = header;
    this.#position = { timeline, salt1, salt2, frame: 0, sum1, sum2 };
    this.#first = 1;
    this.#before = header;
  }

  #copy(from: Uint8Array, at: number, length: number): void {
    this.#bytes.set(from.subarray(at, at + length), this.#length);
    this.#length += length;
  }

  /** Of the frame that was just copied: the ring may be overwritten by now, the copy is not. */
  #verify(frame: number, header: WalHeader): void {
    const size = frameSize(header.pageSize);
    const at = this.#length - size;
    const walk = walkFrames(this.#bytes, at, 1, frame, this.#position, header);
    // durable: nothing into a stream that does not verify
    if (walk.frames !== 1) throw broken(`frame ${frame} has a wrong checksum`);
    const { sum1, sum2 } = walk.sums;
    this.#position = { ...this.#position, frame, sum1, sum2 };
    if (!walk.lastCommit || frame < this.#countsFrom) return;
    this.#countsFrom = 0;
    this.#end = { frame, sum1, sum2, length: this.#length };
  }
}

interface End extends Sums {
  readonly frame: number;
  /** How many bytes there are up to it. */
  readonly length: number;
}

function broken(why: string): LockstepError {
  return new LockstepError(codes.PRIMARY_IO, {
    copy: null,
    what: `What was read from the primary's log does not verify: ${why}`,
    state: "It was not acknowledged; the stream holds all that was",
    next: "Check the primary's disk and memory, then reopen",
  });
}
