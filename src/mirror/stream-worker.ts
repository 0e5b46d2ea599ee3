/**
 * A mirror worker whose replica is a stream (stream/segment.ts): the same commands, ring and cells as worker.ts, and the
 * same meaning of what it confirms. What differs: nothing blocks here, for the network needs the event loop;
 * and there is nothing to fold.
 *
 *   1  look      open the stream, find where it stands, report it
 *   2  prepare   a whole image where the stream does not hold what leads to the primary
 *   3  open      from here on nobody else's messages count; what an earlier writer has under way is refused
 *   4  mirror    send what comes through the ring, confirm what the stream has
 *   5  close
 */
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { codes, LockstepError, toErrorData } from "../errors.ts";
import {
  type Command,
  type Membership,
  PIECE_BYTES,
  type Report,
  type WorkerData,
} from "../gate/messages.ts";
import { RingReader } from "../gate/ring.ts";
import { Slots, states } from "../gate/slots.ts";
import { invariant } from "../invariant.ts";
import { type Copy, walPath } from "../lineage/describe.ts";
import type { Position } from "../lineage/position.ts";
import { copyOf, deepCopyOf } from "../stream/describe.ts";
import type { Keys } from "../stream/keys.ts";
import type { StreamLog } from "../stream/log.ts";
import { writeLogFile } from "../stream/log-file.ts";
import { openToWrite } from "../stream/open.ts";
import { SEGMENT_HEADER_SIZE } from "../stream/segment.ts";
import { readTail, type Tail } from "../stream/tail.ts";
import { type Piece, StreamWriter } from "../stream/writer.ts";
import { frameSize, PAGE_SIZE_MAX, WAL_HEADER_SIZE } from "../wal/format.ts";
import { piecesOf, readLogHeader } from "./follow.ts";
import { Outbox } from "./outbox.ts";
import { streamFailure } from "./stream-failure.ts";
import { StreamImages } from "./stream-images.ts";

/** How often the thread looks whether anybody still waits for it, in milliseconds. */
const GIVEN_UP_EVERY_MS = 50;
/** How often it is told that long work goes on, in milliseconds. */
const ALIVE_EVERY_MS = 1000;

class StreamWorker {
  readonly #data: WorkerData;
  readonly #slots: Slots;
  #keys: Keys | null = null;
  /** Aborted when nobody waits any more. */
  readonly #ending = new AbortController();
  #log: StreamLog | null = null;
  #tail: Tail | null = null;
  #writer: StreamWriter | null = null;
  #outbox: Outbox | null = null;
  #ring: RingReader | null = null;
  #images: StreamImages | null = null;
  /** How many frames were sent. */
  #sent = 0;
  /** How far the ring was read, each time with how many frames will have been sent then. */
  #read: { readonly tail: number; readonly sent: number }[] = [];
  /** How far the ring is confirmed. */
  #confirmed = 0;
  #toldAt = performance.now();
  #failed = false;
  #done = false;

  constructor(data: WorkerData) {
    this.#data = data;
    this.#slots = new Slots(data.memory);
  }

  async run(): Promise<void> {
    this.#slots.setState(this.#data.replica, states.STARTING);
    const watching = setInterval(() => {
      if (!this.#wanted()) this.#ending.abort();
    }, GIVEN_UP_EVERY_MS);
    await this.#guarded(() => this.#look());
    while (!this.#done) {
      const seen = this.#slots.work();
      await this.#guarded(() => this.#drainRing());
      await this.#guarded(() => this.#announce());
      const message = receiveMessageOnPort(this.#data.port) as { message: Command } | undefined;
      if (message) await this.#guarded(() => this.#obey(message.message));
      else if (!this.#done) await this.#slots.whenWork(seen);
    }
    clearInterval(watching);
  }

  /** Runs a step; a failure is posted once, and from then on only `close` is obeyed. */
  async #guarded(step: () => Promise<void> | void): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#fail(streamFailure(this.#data.path, error));
    }
  }

  #fail(failure: LockstepError): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#post({ type: "failed", error: toErrorData(failure) });
    this.#slots.setState(this.#data.replica, states.FAILED);
  }

  async #look(): Promise<void> {
    const { address, known } = this.#data;
    const { log, keys, accepted } = await openToWrite(address, this.#ending.signal, known);
    this.#keys = keys;
    this.#log = log;
    this.#log.onLoss = (why) => this.#fail(streamFailure(this.#data.path, why));
    this.#tail = await readTail(this.#log, this.#keys);
    this.#writer = new StreamWriter(this.#log, this.#tail, this.#keys);
    this.#images = new StreamImages({
      ...{ address: this.#data.address, log, keys, writer: this.#writer },
      signal: this.#ending.signal,
      onProgress: (...bytes) => this.#progress(...bytes),
      onReady: () => this.#slots.wakeWorkers(),
    });
    const messages = await StreamImages.messagesSince(log, this.#tail.last);
    this.#post({ type: "described", copy: await this.#describe(false), messages, accepted });
  }

  async #obey(command: Command): Promise<void> {
    if (command.type === "close") return this.#close();
    if (this.#failed) return;
    switch (command.type) {
      case "describe":
        return this.#post({ type: "described", copy: await this.#describe(true) });
      case "copy":
      case "delta":
        this.#assertMine(command.membership);
        await this.#open(command.membership.databaseId, command.membership.timeline);
        await this.#keeping().make(command.membership);
        return this.#post({ type: "ready", sums: null });
      case "install-log":
        await this.#installLog(command.membership);
        return this.#post({ type: "ready", sums: null });
      case "attach":
        return this.#attach(command.timeline);
      case "follow":
        await this.#sendLog(command.log, command.to);
        return this.#post({ type: "followed" });
      case "frames":
        return this.#sendFrames(command);
      case "join":
        this.#ring = new RingReader(this.#data.memory.ring, command.tail);
        this.#read = [];
        this.#confirmed = command.tail;
        return;
      case "image":
        return this.#keeping().makeLive(command.membership);
      case "passed":
      case "left":
        return; // a stream's past is what it holds
      case "begin-fold":
        return this.#post({ type: "may-fold" });
      case "fold":
        return this.#post({ type: "folded", done: true, because: "" });
      case "compare":
      case "trust-log":
      case "adopt":
      case "export":
        throw notItsStream(this.#data.path);
      case "export-log": {
        const { position, last } = this.#tail as Tail;
        invariant(position !== null, "a log leads to a position");
        const at = { position, last };
        await writeLogFile(this.#held(), at, this.#keys, command.to, () => this.#alive());
        return this.#post({ type: "ready", sums: null });
      }
    }
  }

  /** A stream that holds nothing yet may be of another database all the same, or promoted. */
  #assertMine({ databaseId, timeline }: Membership): void {
    const tail = this.#tail as Tail;
    if (tail.databaseId !== null && tail.databaseId !== databaseId) {
      throw notItsStream(this.#data.path);
    }
    if (tail.timeline > timeline) throw promoted(this.#data.path, tail.timeline);
  }

  /** The image that was kept counts once the primary's log, up to where it stands, is in the stream as well. */
  async #installLog(membership: Membership): Promise<void> {
    const { position, base, primary } = membership;
    await this.#keeping().begin(position.frame);
    this.#outbox = new Outbox(this.#capacity, { position, header: null, base });
    this.#outbox.beginAnew(position, base);
    await this.#sendLog(walPath(primary), position);
  }

  async #attach(timeline: number): Promise<void> {
    if (this.#keeping().isNew) {
      const at = await this.#keeping().begin(0);
      this.#outbox = new Outbox(this.#capacity, { ...at, header: null });
    }
    const databaseId = this.#tail?.databaseId as string;
    await this.#open(databaseId, timeline);
    const outbox = this.#sending();
    outbox.onTimeline(timeline);
    this.#post({ type: "attached", position: outbox.position, copyId: null });
    this.#slots.setState(this.#data.replica, states.ATTACHED);
  }

  /** From here on only this writer's messages count. */
  async #open(databaseId: string, timeline: number): Promise<void> {
    const writer = this.#opened();
    if (writer.isOpen && writer.timeline === timeline) return;
    const tail = this.#tail as Tail;
    const held = this.#outbox;
    const at = held
      ? { ...tail, position: held.position, base: held.base, pageSize: held.pageSize }
      : tail;
    // durable: no other writer's messages from here on
    await writer.open({ databaseId, timeline }, at, this.#ending.signal);
    this.#tail = { ...at, databaseId, timeline, last: writer.last };
  }

  /** Sends frames of a log file, as far as the stream lacks them. */
  async #sendLog(log: string, to: Position): Promise<void> {
    const outbox = this.#sending();
    for (const { record, window } of piecesOf(log, outbox.next(to), to)) {
      for (const piece of outbox.add(record, window)) {
        await this.#send(piece);
        this.#alive();
      }
    }
    for (const piece of outbox.rest()) await this.#send(piece);
  }

  /** Sends frames that the committing thread has handed over by themselves: nobody waits for them. */
  async #sendFrames({ record, bytes }: Extract<Command, { type: "frames" }>): Promise<void> {
    // Once it was let go of, what it has not begun with is better sent by the next.
    if (!this.#wanted()) return;
    const outbox = this.#sending();
    const window = { bytes, at: 0, length: bytes.length };
    for (const _ of outbox.add(record, window)) invariant(false, "a chunk is one message");
    for (const piece of outbox.rest()) await this.#deliver(piece);
    this.#post({ type: "followed" }); // durable: sent, then confirmed, asynchronously
  }

  /**
   * Sends what is in the ring, in full messages; if somebody waits for it all of it, and what comes in meanwhile
   * shares the messages. Confirms after each.
   */
  async #drainRing(): Promise<void> {
    const [ring, outbox] = [this.#ring, this.#outbox];
    if (!outbox || !ring) return;
    const wanted = this.#slots.wanted();
    let head = this.#slots.head();
    for (;;) {
      // durable: commits that went on without this stream do not reach it
      if (this.#failed || !this.#wanted()) return;
      const next = ring.next(head);
      if (next) {
        for (const piece of outbox.add(next.record, next.window)) await this.#deliver(piece);
      } else {
        if (this.#hasConfirmed(wanted)) return;
        for (const piece of outbox.message()) await this.#deliver(piece);
      }
      this.#read.push({ tail: ring.tail, sent: this.#sent + outbox.waiting });
      this.#confirm();
      if (!this.#hasConfirmed(wanted)) head = this.#slots.head();
    }
  }

  async #deliver(piece: Piece): Promise<void> {
    const begun = performance.now();
    await this.#send(piece);
    this.#confirm();
    this.#slots.synced(this.#data.replica, performance.now() - begun);
  }

  /** Confirms the ring as far as the stream has what was read from it. */
  #confirm(): void {
    let tail = this.#confirmed;
    for (let [first] = this.#read; first; [first] = this.#read) {
      if (first.sent > this.#sent) break; // durable: what waits for its message is not confirmed
      tail = first.tail;
      this.#read.shift();
    }
    if (tail === this.#confirmed) return;
    this.#confirmed = tail;
    this.#slots.confirm(this.#data.replica, tail);
  }

  #hasConfirmed(wanted: number): boolean {
    return ((wanted - this.#confirmed) | 0) <= 0;
  }

  async #send(piece: Piece): Promise<void> {
    await this.#opened().frames(piece, this.#ending.signal); // durable: sent, then confirmed
    this.#sent += piece.frames;
    this.#keeping().sent(piece);
  }

  /** Speaks of a live image that was made meanwhile. */
  async #announce(): Promise<void> {
    if (this.#failed || !(await this.#images?.announce())) return;
    this.#post({ type: "image-made" });
  }

  #progress(bytesDone: number, bytesTotal: number, bytesPerSecond: number): void {
    const done = { bytesDone, bytesTotal, bytesPerSecond };
    this.#post({ type: "progress", progress: { phase: "copy", path: this.#data.path, ...done } });
  }

  /** @param deep with all that the stream still holds of the past */
  #describe(deep: boolean): Copy | Promise<Copy> {
    const { path } = this.#data;
    const tail = this.#tail as Tail;
    const outbox = this.#outbox;
    const at = outbox ? { ...tail, position: outbox.position, base: outbox.base } : tail;
    if (!deep) return copyOf(path, at);
    return deepCopyOf(this.#held(), path, at, this.#keys, () => this.#alive());
  }

  /** What frames go into: made anew where the stream stood when it was opened. */
  #sending(): Outbox {
    if (this.#outbox) return this.#outbox;
    const { position, base } = this.#tail as Tail;
    invariant(position !== null, "frames continue what a stream holds");
    const header = readLogHeader(walPath(this.#data.primary), position);
    this.#outbox = new Outbox(this.#capacity, { position, header, base });
    return this.#outbox;
  }

  get #capacity(): number {
    const most = this.#held().maxBytes - SEGMENT_HEADER_SIZE;
    invariant(most >= WAL_HEADER_SIZE + frameSize(PAGE_SIZE_MAX), "a message holds a frame", {
      most,
    });
    return Math.min(PIECE_BYTES, most);
  }

  async #close(): Promise<void> {
    this.#done = true;
    this.#ending.abort();
    await this.#guarded(async () => this.#images?.rest());
    await this.#guarded(async () => this.#log?.close());
    this.#post({ type: "closed" });
    this.#slots.setState(this.#data.replica, states.CLOSED);
    this.#data.port.close();
  }

  #wanted(): boolean {
    return !this.#slots.givenUp(this.#data.replica);
  }

  #held(): StreamLog {
    invariant(this.#log !== null, "the stream is open");
    return this.#log;
  }

  #keeping(): StreamImages {
    invariant(this.#images !== null, "the stream is open");
    return this.#images;
  }

  #opened(): StreamWriter {
    invariant(this.#writer !== null, "the stream is open");
    return this.#writer;
  }

  /** Of long work that somebody waits for: that it goes on, now and then. */
  #alive(): void {
    const now = performance.now();
    if (now - this.#toldAt < ALIVE_EVERY_MS) return;
    this.#toldAt = now;
    this.#post({ type: "alive" });
  }

  #post(report: Report): void {
    const last = this.#writer?.last ?? 0;
    this.#data.port.postMessage({ ...report, last } satisfies Report);
    this.#slots.ring();
  }
}

function notItsStream(copy: string): LockstepError {
  return new LockstepError(codes.REPLICA_UNKNOWN, {
    copy,
    what: "This stream is of another database, or what the primary holds is not proven to be its past",
    state: "Nothing was written to it",
    next: "Open the primary with a file replica that proves its position, name another stream (lockstep init makes one), or restore from this one",
  });
}

function promoted(copy: string, timeline: number): LockstepError {
  return new LockstepError(codes.FENCED, {
    copy,
    what: `A replica was promoted: the stream is on timeline ${timeline}`,
    state: "Nothing was written to it",
    next: "Do not write here any more; see docs/failover.md",
  });
}

await new StreamWorker(workerData as WorkerData).run();
