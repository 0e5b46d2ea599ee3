/**
 * A writer of streams for tests: a real SQLite database whose commits go into a stream as they come, with snapshots,
 * logs that begin anew, transactions in pieces. It is in nobody's way: it ships when told.
 */
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { Position } from "../../src/lineage/position.ts";
import type { Keys } from "../../src/stream/keys.ts";
import type { StreamLog } from "../../src/stream/log.ts";
import { writeNote } from "../../src/stream/notes.ts";
import { wrap } from "../../src/stream/seal.ts";
import { encodeSegment, kinds, type SegmentHeader } from "../../src/stream/segment.ts";
import { takeSnapshot } from "../../src/stream/snapshots.ts";
import {
  decodeFrameHeader,
  frameOffset,
  frameSize,
  sameSalts,
  type WalHeader,
} from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";

export interface WriterOptions {
  readonly keys?: Keys | null;
  readonly compress?: boolean;
  /** How many frames a message has at most. */
  readonly maxFrames?: number;
  readonly databaseId?: string;
  readonly timeline?: number;
}

const never = new AbortController().signal;

export class StreamWriter {
  readonly file: string;
  readonly db: DatabaseSync;
  /** Reads at the log's end, so that the log goes on although all of it is in the file. */
  readonly #guard: DatabaseSync;
  readonly #log: StreamLog;
  readonly #options: Required<WriterOptions>;
  #last = 0;
  writer = "00000000000000b1";
  timeline: number;
  position: Position;
  #base: Position | null = null;
  /** The message with frame 1 of the present log; 0: there is none. */
  #logFrom = 0;
  /** Where each message has left the stream, by its number. */
  readonly positions = new Map<number, Position>();

  private constructor(log: StreamLog, file: string, options: WriterOptions) {
    this.#log = log;
    this.file = file;
    this.#options = {
      ...{ keys: null, compress: true, maxFrames: 1000, timeline: 1 },
      databaseId: "01234567-89ab-cdef-0123-456789abcdef",
      ...options,
    };
    this.timeline = this.#options.timeline;
    this.position = { timeline: this.timeline, salt1: 9, salt2: 9, frame: 0, sum1: 0, sum2: 0 };
    this.db = new DatabaseSync(file);
    this.db.exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=NORMAL");
    this.#guard = new DatabaseSync(file);
  }

  /** A new database with a table t(id, x), and a stream that begins with its snapshot. */
  static async begin(
    log: StreamLog,
    file: string,
    options: WriterOptions = {},
  ): Promise<StreamWriter> {
    const writer = new StreamWriter(log, file, options);
    writer.db.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    await writer.open("opened", 1);
    await writer.beginAnew();
    return writer;
  }

  async open(how: "opened" | "promoted", timeline: number): Promise<void> {
    this.timeline = timeline;
    this.position = { ...this.position, timeline };
    const note = writeNote({ how, host: "test", pid: 1, at: new Date().toISOString() });
    await this.#put({ ...this.#at(), kind: kinds.OPEN }, note);
  }

  /** Runs SQL, and ships what it has committed. */
  async run(sql: string): Promise<void> {
    this.db.exec(sql);
    await this.ship();
  }

  /** Ships what was committed since, one transaction or many, as one delivery. */
  async ship(): Promise<void> {
    const scan = scanLog(`${this.file}-wal`);
    const end = scan?.commits.at(-1);
    if (!scan || !end) return;
    const { header } = scan;
    const isNew = !sameSalts(header, this.position);
    if (!isNew && end.frame === this.position.frame) return;
    if (isNew) {
      this.#base = this.position;
      this.#logFrom = this.#last + 1;
    }
    await this.#frames(header, isNew ? 1 : this.position.frame + 1, end.frame);
  }

  /** Folds the log into the file: the next commit begins a new one. */
  checkpoint(): void {
    this.#letGo();
    const { busy } = this.db.prepare("PRAGMA wal_checkpoint(RESTART)").get() as { busy: number };
    if (busy !== 0) throw new Error("the log could not be folded");
  }

  /** A snapshot of where the stream stands. */
  async snapshot(): Promise<void> {
    const note = await this.#take();
    await this.#put(
      { ...this.#at(), kind: kinds.SNAPSHOT },
      writeNote({ ...note, logFrom: this.#logFrom, install: 0 }),
    );
  }

  /** The stream begins anew at where the database stands, whatever it held. */
  async beginAnew(): Promise<void> {
    const scan = scanLog(`${this.file}-wal`);
    const end = scan?.commits.at(-1);
    if (!scan || !end) throw new Error("there is no log");
    const { header } = scan;
    const { salt1, salt2 } = header;
    const { frame, sum1, sum2 } = end;
    this.position = { timeline: this.timeline, salt1, salt2, frame, sum1, sum2 };
    const note = await this.#take();
    const noted = { ...note, logFrom: null, install: frame };
    await this.#put({ ...this.#at(), kind: kinds.SNAPSHOT }, writeNote(noted));
    this.#base = null;
    this.#logFrom = this.#last + 1;
    await this.#frames(header, 1, frame);
  }

  #letGo(): void {
    if (this.#guard.isTransaction) this.#guard.exec("COMMIT");
  }

  close(): void {
    this.#guard.close();
    this.db.close();
  }

  async #take() {
    const { keys, compress } = this.#options;
    this.#letGo();
    this.#guard.exec("BEGIN; SELECT count(*) FROM t");
    const row = this.db.prepare("PRAGMA wal_checkpoint(PASSIVE)").get() as Record<string, number>;
    if (row["log"] !== row["checkpointed"]) throw new Error("not all of it is in the file");
    const image = fs.readFileSync(this.file);
    const pageSize = this.#pageSize();
    const { frame } = this.position;
    const bytes = (async function* () {
      yield image;
    })();
    const given = { after: this.#last, frame, pageSize, signal: never, keys, compress };
    return takeSnapshot(this.#log, bytes, given);
  }

  #pageSize(): number {
    return (this.db.prepare("PRAGMA page_size").get() as { page_size: number }).page_size;
  }

  async #frames(header: WalHeader, first: number, last: number): Promise<void> {
    const bytes = fs.readFileSync(`${this.file}-wal`);
    const { pageSize, salt1, salt2 } = header;
    const { maxFrames } = this.#options;
    const sumsAt = (frame: number): { sum1: number; sum2: number } => {
      if (frame === 0) return { sum1: header.sum1, sum2: header.sum2 };
      const { sum1, sum2 } = decodeFrameHeader(bytes, frameOffset(frame, pageSize));
      return { sum1, sum2 };
    };
    for (let at = first; at <= last; at += maxFrames) {
      const frames = Math.min(maxFrames, last - at + 1);
      const end = at + frames - 1;
      const start = at === 1 ? 0 : frameOffset(at, pageSize);
      const payload = bytes.subarray(
        start,
        frameOffset(at, pageSize) + frames * frameSize(pageSize),
      );
      const segment = {
        ...this.#at(),
        ...{ salt1, salt2, first: at, frames, base: this.#base, ends: end === last },
        ...{ before: sumsAt(at - 1), after: sumsAt(end) },
      };
      if (end === last) {
        this.position = { timeline: this.timeline, salt1, salt2, frame: end, ...sumsAt(end) };
      }
      await this.#put(segment, payload);
    }
  }

  #at(): SegmentHeader {
    const { salt1, salt2, frame, sum1, sum2 } = this.position;
    return {
      ...{ kind: kinds.FRAMES, writer: this.writer, timeline: this.timeline },
      ...{ databaseId: this.#options.databaseId, pageSize: this.#pageSize() },
      ...{ salt1, salt2, first: frame + 1, frames: 0, base: null, ends: false, place: 0 },
      ...{ before: { sum1, sum2 }, after: { sum1, sum2 } },
    };
  }

  async #put(header: SegmentHeader, payload: Uint8Array): Promise<void> {
    const { keys, compress } = this.#options;
    const isPromotion = String(Buffer.from(payload)).includes('"promoted"');
    const placed = { ...header, place: isPromotion ? 0 : this.#last + 1 };
    const bytes = encodeSegment(placed, wrap(placed, payload, { keys, compress }));
    const there = await this.#log.append(bytes, this.#last, never);
    if (there) throw new Error(`message ${this.#last + 1} is another's`);
    this.#last++;
    this.positions.set(this.#last, this.position);
  }
}
