/**
 * Writes streams for tests, message by message, and knows what counts. Its frames are of SQLite's format and
 * their pages of noise.
 */
import { createHash } from "node:crypto";
import type { Position } from "../../src/lineage/position.ts";
import type { Entry } from "../../src/stream/log.ts";
import { writeNote } from "../../src/stream/notes.ts";
import { wrap } from "../../src/stream/seal.ts";
import { encodeSegment, kinds, type SegmentHeader } from "../../src/stream/segment.ts";
import {
  encodeFrameHeader,
  encodeWalHeader,
  FRAME_HEADER_SIZE,
  frameSize,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "../../src/wal/format.ts";

const PAGE_SIZE = 512;

interface Log {
  readonly header: WalHeader;
  readonly bytes: Uint8Array;
  /** The message with frame 1; 0: not written yet. */
  from: number;
  readonly base: Position | null;
}

/** What a message is to be taken as. */
export interface Expected {
  readonly is: string;
  /** Where the stream stands after it. */
  readonly position: Position | null;
}

export class Scribe {
  readonly entries: Entry[] = [];
  readonly expected: Expected[] = [];
  writer = "00000000000000a1";
  timeline = 1;
  position: Position | null = null;
  /** A log that has begun, or is to begin with the next frame. */
  #log: Log | null = null;
  #salt = 100;
  #noise = 0;
  /** Every position that counted, in order. */
  readonly counted: Position[] = [];

  open(how: "opened" | "promoted", timeline: number, counts: boolean): void {
    const writer = createHash("sha256")
      .update(`${this.#noise++}`)
      .digest("hex")
      .slice(0, 16);
    const note = writeNote({ how, host: "test", pid: 1, at: "2026-01-01T00:00:00.000Z" });
    const header = { ...this.#at(), kind: kinds.OPEN, writer, timeline };
    if (counts) {
      this.writer = writer;
      this.timeline = timeline;
      if (this.position) this.position = { ...this.position, timeline };
      if (this.#log?.from === 0) this.#log = null;
    }
    this.#put(header, note, counts ? "open" : "void");
  }

  /** From the next frame on a log begins. */
  beginLog(base: Position | null = this.position): void {
    const bytes = new Uint8Array(WAL_HEADER_SIZE);
    const salts = { salt1: ++this.#salt, salt2: 7 * this.#salt };
    const header = encodeWalHeader(bytes, { pageSize: PAGE_SIZE, checkpoint: 0, ...salts });
    this.#log = { header, bytes, from: 0, base };
  }

  /** Are there frames of its log that count? */
  get isLogWritten(): boolean {
    return (this.#log?.from ?? 0) > 0;
  }

  /**
   * Frames in messages of these sizes. Each inner message may end transactions, the last does if `ends`.
   * @param by another writer's name: nothing of it counts
   */
  frames(sizes: readonly number[], ends: boolean, by?: string): void {
    if (!this.#log) this.beginLog();
    const log = this.#log as Log;
    const isNew = log.from === 0;
    let last = isNew ? { ...log.header, frame: 0 } : (this.position as Position);
    const from = this.entries.length + 1;
    for (const [i, size] of sizes.entries()) {
      const isLast = i === sizes.length - 1;
      const made = this.#message(log, last, size, isLast && ends, by ?? this.writer);
      last = made.end;
      if (isLast && ends && by === undefined) {
        if (isNew) log.from = from;
        this.position = made.end;
        this.counted.push(made.end);
        this.#put(made.header, made.payload, "end");
      } else this.#put(made.header, made.payload, by === undefined ? "piece" : "void");
    }
  }

  /** A snapshot of where the stream stands. */
  snapshot(): void {
    const log = this.#log as Log;
    this.#put({ ...this.#at(), kind: kinds.SNAPSHOT }, this.#note(log.from, 0), "snapshot");
  }

  /** A snapshot of where the stream will stand after the next message of `frames(sizes)`. */
  snapshotAhead(sizes: readonly number[]): void {
    const log = this.#log as Log;
    const ahead = new Scribe();
    Object.assign(ahead, { position: this.position, timeline: this.timeline });
    ahead.#log = { ...log };
    ahead.#noise = this.#noise;
    ahead.frames(sizes, true);
    const end = ahead.position as Position;
    this.#put(
      { ...this.#at(), first: end.frame + 1, before: end, after: end, kind: kinds.SNAPSHOT },
      this.#note(log.from, 0),
      "snapshot",
    );
  }

  /** The stream begins anew, with the log of so many messages; none: at the file alone. */
  install(sizes: readonly number[]): void {
    if (sizes.length === 0) {
      this.#log = null;
      const [salt1, salt2] = [++this.#salt, 1];
      this.position = { timeline: this.timeline, salt1, salt2, frame: 0, sum1: 0, sum2: 0 };
      this.counted.push(this.position);
      this.#put({ ...this.#at(), kind: kinds.SNAPSHOT }, this.#note(null, 0), "installed");
      return;
    }
    this.beginLog(null);
    const log = this.#log as Log;
    const before = this.position;
    let last = { ...log.header, frame: 0, timeline: this.timeline } as Position;
    const messages = sizes.map((size) => {
      const made = this.#message(log, last, size, true, this.writer);
      last = made.end;
      return made;
    });
    this.position = last;
    const header = { ...this.#at(), kind: kinds.SNAPSHOT };
    this.position = before;
    this.#put(header, this.#note(null, last.frame), "snapshot");
    log.from = this.entries.length + 1;
    for (const [i, made] of messages.entries()) {
      const isLast = i === messages.length - 1;
      if (isLast) {
        this.position = last;
        this.counted.push(last);
      }
      this.#put(made.header, made.payload, isLast ? "installed" : "piece");
    }
  }

  #note(logFrom: number | null, install: number): Uint8Array {
    return writeNote({
      ...{ object: "object", pages: 1, bytes: PAGE_SIZE, sha256: "0".repeat(64), logFrom, install },
    });
  }

  /** The header of a message without frames. */
  #at(): SegmentHeader {
    const none = { timeline: 1, salt1: 0, salt2: 0, frame: 0, sum1: 0, sum2: 0 };
    const { salt1, salt2, frame, sum1, sum2 } = this.position ?? none;
    return {
      ...{ kind: kinds.FRAMES, writer: this.writer, timeline: this.timeline, pageSize: PAGE_SIZE },
      databaseId: "01234567-89ab-cdef-0123-456789abcdef",
      ...{ salt1, salt2, first: frame + 1, frames: 0, base: null, ends: false, place: 0 },
      before: { sum1, sum2 },
      after: { sum1, sum2 },
    };
  }

  #message(
    log: Log,
    last: { readonly frame: number; readonly sum1: number; readonly sum2: number },
    frames: number,
    ends: boolean,
    writer: string,
  ): { header: SegmentHeader; payload: Uint8Array; end: Position } {
    const first = last.frame + 1;
    const start = first === 1 ? WAL_HEADER_SIZE : 0;
    const payload = new Uint8Array(start + frames * frameSize(PAGE_SIZE));
    if (first === 1) payload.set(log.bytes);
    let sums = { sum1: last.sum1, sum2: last.sum2 };
    for (let i = 0; i < frames; i++) {
      const at = start + i * frameSize(PAGE_SIZE);
      const noise = createHash("sha512")
        .update(`${this.#noise++}`)
        .digest();
      payload.set(noise, at + FRAME_HEADER_SIZE);
      // A message may hold several transactions: every second frame ends one.
      const commit = (ends && i === frames - 1) || i % 2 === 1 ? 5 : 0;
      sums = encodeFrameHeader(payload, at, { page: i + 1, commit }, sums, log.header);
    }
    const { salt1, salt2 } = log.header;
    const { base } = log;
    const header = {
      ...this.#at(),
      ...{ writer, salt1, salt2, first, frames, base, ends, after: sums },
      before: { sum1: last.sum1, sum2: last.sum2 },
    };
    const end = { timeline: this.timeline, salt1, salt2, frame: first - 1 + frames, ...sums };
    return { header, payload, end };
  }

  #put(header: SegmentHeader, payload: Uint8Array, is: string): void {
    const sequence = this.entries.length + 1;
    const isPromotion =
      header.kind === kinds.OPEN && /"promoted"/.test(String(Buffer.from(payload)));
    const placed = { ...header, place: isPromotion ? 0 : sequence };
    const wrapped = wrap(placed, payload, { keys: null, compress: false });
    const time = new Date(1_000_000_000_000 + sequence * 1000);
    this.entries.push({ sequence, bytes: encodeSegment(placed, wrapped), time });
    this.expected.push({ is, position: this.position });
  }
}
