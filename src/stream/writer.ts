/**
 * The one who writes a stream: the primary's side. One message is under way at a time, for the place after the
 * last; so whoever else writes into the stream is noticed before anything is confirmed.
 *
 * Invariants:
 *   - the first message of a writer is an open; what it says of frames stands behind it;
 *   - a message is taken for stored only when the log has said so, or it was read back from its place;
 *   - the place after a message that somebody else has put there is not written, unless that message is
 *     void: a promotion that raises nothing.
 */
import { randomBytes } from "node:crypto";
import os from "node:os";
import { codes, LockstepError } from "../errors.ts";
import { invariant } from "../invariant.ts";
import type { Position } from "../lineage/position.ts";
import type { WalHeader } from "../wal/format.ts";
import type { Keys } from "./keys.ts";
import type { Entry, StreamLog } from "./log.ts";
import { wrap } from "./seal.ts";
import {
  decodeSegment,
  encodeSegment,
  kinds,
  type OpenNote,
  type SegmentHeader,
  type SnapshotNote,
} from "./segment.ts";
import type { Tail } from "./tail.ts";

/** Smaller payloads are not worth the time that it takes to compress them. */
const COMPRESS_FROM_BYTES = 16 << 10;

/** A piece of a log, whose frames have been verified. */
export interface Piece
  extends Pick<SegmentHeader, "first" | "frames" | "before" | "after" | "ends"> {
  readonly log: Pick<WalHeader, "pageSize" | "salt1" | "salt2">;
  /** The content under the log's first frame, if that is on record. */
  readonly base: Position | null;
  readonly bytes: Uint8Array;
}

export class StreamWriter {
  /** Names this writer in all that it writes. */
  readonly id: string = randomBytes(8).toString("hex");
  readonly #log: StreamLog;
  readonly #keys: Keys | null;
  #last: number;
  #databaseId: string | null;
  #timeline: number;
  #isOpen = false;

  constructor(log: StreamLog, tail: Tail, keys: Keys | null) {
    this.#log = log;
    this.#keys = keys;
    this.#last = tail.last;
    this.#databaseId = tail.databaseId;
    this.#timeline = tail.timeline;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The last message in the log, as far as this writer knows: its own, or those that it began after. */
  get last(): number {
    return this.#last;
  }

  /**
   * From here on only what this writer writes counts; what an earlier one has under way is refused.
   * @param at where the stream stands; null: it holds nothing yet
   * @throws LockstepError LOCKED if another writer was quicker, FENCED if the stream was promoted
   */
  async open(
    { databaseId, timeline }: { readonly databaseId: string; readonly timeline: number },
    at: Tail,
    signal: AbortSignal,
  ): Promise<void> {
    invariant(timeline >= this.#timeline, "timelines only rise", { timeline });
    const note: OpenNote = { how: "opened", ...people() };
    this.#databaseId ??= databaseId;
    const header = this.#standing(kinds.OPEN, at.position, at);
    // Until it is there a promotion is void, or not, by the timeline before.
    await this.#write({ ...header, timeline }, note, signal);
    this.#timeline = timeline;
    this.#isOpen = true;
  }

  /** Another timeline begins, in the middle of what this writer has open. */
  get timeline(): number {
    return this.#timeline;
  }

  /** Resolves when these frames are in the stream, durably. */
  async frames(piece: Piece, signal: AbortSignal): Promise<void> {
    invariant(this.#isOpen, "a stream is opened before it is written");
    const { log, first, frames, before, after, ends, base, bytes } = piece;
    const { pageSize, salt1, salt2 } = log;
    const where = { pageSize, salt1, salt2, first, frames, before, after, base, ends };
    await this.#append({ kind: kinds.FRAMES, ...this.#identity(), ...where }, bytes, signal);
  }

  /** Says that a whole image is kept beside the stream. */
  async snapshot(
    note: SnapshotNote,
    at: { readonly position: Position; readonly pageSize: number; readonly base: Position | null },
    signal: AbortSignal,
  ): Promise<void> {
    invariant(this.#isOpen, "a stream is opened before it is written");
    const header = this.#standing(kinds.SNAPSHOT, at.position, at);
    await this.#write(
      { ...header, ends: note.logFrom === null && note.install === 0 },
      note,
      signal,
    );
  }

  #write(header: Unplaced, note: object, signal: AbortSignal): Promise<void> {
    return this.#append(header, Buffer.from(JSON.stringify(note)), signal);
  }

  async #append(header: Unplaced, plain: Uint8Array, signal: AbortSignal): Promise<void> {
    const compress = plain.length >= COMPRESS_FROM_BYTES;
    for (;;) {
      const placed = { ...header, place: this.#last + 1 };
      const bytes = encodeSegment(placed, wrap(placed, plain, { keys: this.#keys, compress }));
      // durable: only after all that was written before
      const other = await this.#log.append(bytes, this.#last, signal);
      this.#last++;
      if (!other) return;
      if (!this.#isVoid(other)) throw this.#taken(other);
    }
  }

  /** Is it a promotion that has raised nothing, so that it never happened? */
  #isVoid(other: Entry): boolean {
    const { header } = decodeSegment(other.bytes, `${this.#log.name} message ${other.sequence}`);
    const { kind, databaseId, timeline, place } = header;
    const isPromotion = kind === kinds.OPEN && place === 0;
    return (
      this.#isOpen && isPromotion && databaseId === this.#databaseId && timeline <= this.#timeline
    );
  }

  #taken(other: Entry): LockstepError {
    const { name } = this.#log;
    const { header } = decodeSegment(other.bytes, `${name} message ${other.sequence}`);
    const promoted = header.timeline > this.#timeline;
    if (promoted || this.#isOpen) {
      const how = promoted ? "A replica was promoted" : "Another process has opened a primary";
      return new LockstepError(codes.FENCED, {
        copy: name,
        what: `${how}, and the stream belongs to that now (timeline ${header.timeline}, message ${other.sequence})`,
        state:
          "Nothing of the last transaction is in the stream; this primary and its file replicas may hold it",
        next: "Do not write here any more; see docs/failover.md",
      });
    }
    return new LockstepError(codes.LOCKED, {
      copy: name,
      what: "Another process writes to this stream",
      state: "Nothing was written to it",
      next: "Close the other primary, then open again",
    });
  }

  /** A segment without frames: it stands at a position. */
  #standing(
    kind: SegmentHeader["kind"],
    position: Position | null,
    { pageSize, base }: { readonly pageSize: number; readonly base: Position | null },
  ): Unplaced {
    const { salt1, salt2, frame, sum1, sum2 } = position ?? NOWHERE;
    const sums = { sum1, sum2 };
    return {
      ...{ kind, ...this.#identity(), pageSize, base, ends: position !== null },
      ...{ salt1, salt2, first: frame + 1, frames: 0, before: sums, after: sums },
    };
  }

  #identity(): Pick<SegmentHeader, "writer" | "databaseId" | "timeline"> {
    invariant(this.#databaseId !== null, "a stream is of a database");
    return { writer: this.id, databaseId: this.#databaseId, timeline: this.#timeline };
  }
}

/** A header whose place is still to be found. */
type Unplaced = Omit<SegmentHeader, "place">;

/** The payload of an open, but for how it came about. */
export function people(): Omit<OpenNote, "how"> {
  return { host: os.hostname(), pid: process.pid, at: new Date().toISOString() };
}

const NOWHERE = { salt1: 0, salt2: 0, frame: 0, sum1: 0, sum2: 0 };
