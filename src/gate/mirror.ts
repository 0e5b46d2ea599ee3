/**
 * The committing thread's hold on one mirror worker: start it, command it, take its reports.
 * `wait`, `look`, `refresh`, `attachedAt` and `close` block, never longer than `timeout` without a sign of
 * life; the others do not.
 */
import { extname } from "node:path";
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from "node:worker_threads";
import { isStream } from "../address.ts";
import { tellApplication } from "../application.ts";
import type { DriverName } from "../driver.ts";
import { codes, fromErrorData, LockstepError } from "../errors.ts";
import type { Copy } from "../lineage/describe.ts";
import type { Position } from "../lineage/position.ts";
import type { Progress } from "../options.ts";
import type { Command, Report, WorkerData } from "./messages.ts";
import { type SharedMemory, type Slots, states } from "./slots.ts";

/** How long a thread may take until it runs its first line, in milliseconds: on a machine that is overloaded, long. */
const BOOT_MS = 60_000;

export class Mirror {
  /** Of a file; of a stream what it is called. */
  readonly path: string;
  readonly isStream: boolean;
  /** Its number among the hub's replicas, and so its cells. */
  readonly index: number;
  readonly #slots: Slots;
  readonly #timeout: number;
  readonly #onProgress: ((progress: Progress) => void) | null;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  /** What ended it, if something did. */
  failure: LockstepError | null = null;
  /** What the replica is: as the worker found it under its lock, or else as it was glimpsed. */
  copy: Copy | null;
  /** What its record calls the replica; null while that is not known. */
  copyId: string | null;
  /** Of a stream: how many messages it had since its last image when it was looked at. */
  messages = 0;
  /** What cannot keep all that it acknowledges, and was accepted by name. */
  accepted: readonly string[] = [];
  /** The last message that it is known to hold. */
  last = 0;
  /** When it last told that long work goes on, by the monotonic clock; 0: never. */
  progressAt = 0;
  /** How many images were made while commits went on, and how often frames were `followed`. */
  images = 0;
  followed = 0;
  /** Has the worker reported the replica? */
  #isLooked = false;
  /** What the worker must find when it attaches; null: what it has reported itself. */
  #seen: Copy | null = null;
  /** Reports that came while nobody waited. */
  readonly #inbox: Report[] = [];
  #hung = false;
  #ended = false;
  #born = performance.now();

  constructor(
    { driver, memory, slots, timeout, onProgress, primary, addresses, known }: MirrorContext,
    path: string,
    index: number,
    glimpsed: Copy | null,
    expectsBulk = false,
  ) {
    const address = addresses[index] as string;
    this.path = path;
    this.isStream = isStream(address);
    this.index = index;
    this.copy = glimpsed;
    this.copyId = glimpsed?.state?.copyId ?? null;
    this.#slots = slots;
    this.#timeout = timeout;
    this.#onProgress = onProgress;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: WorkerData = {
      ...{ replica: index, path, address, primary, driver, expectsBulk, memory, port: port2 },
      known: known(path),
    };
    const script = this.isStream ? "stream-worker" : "begin";
    this.#worker = new Worker(
      new URL(`../mirror/${script}${extname(import.meta.url)}`, import.meta.url),
      {
        workerData,
        transferList: [port2],
        // Descriptors of a live database must not be closed behind SQLite's back, see targets/file.ts.
        trackUnmanagedFds: false,
        // To a file it makes little garbage; that saves megabytes.
        resourceLimits: { maxYoungGenerationSizeMb: this.isStream ? 16 : 1 },
        execArgv: [], // what the program was started with is not for this
      },
    );
    this.#worker.unref();
    this.#worker.on("error", (error) => this.#died(error as Error));
    this.#worker.on("exit", () => {
      this.#ended = true;
      this.#died(null);
    });
    port1.on("message", (report: Report) => this.#unasked(report));
    port1.unref();
  }

  /** Called when the worker fails while nobody waits for it. */
  onFailure: (failure: LockstepError) => void = () => {};

  /** @param given what the command holds and the worker gets, without a copy of it */
  post(command: Command, given: ArrayBuffer[] = []): void {
    this.#port.postMessage(command, given);
    this.#slots.wakeWorkers();
  }

  /**
   * Blocks until the worker reports `type`.
   * @throws LockstepError its failure, or REPLICA_TIMEOUT after `timeout` ms without any report
   */
  wait<T extends Report["type"]>(type: T): Extract<Report, { type: T }> {
    let deadline = performance.now() + this.#timeout;
    for (;;) {
      const seen = this.#slots.bell();
      const report = this.#next();
      if (report?.type === type) return report as Extract<Report, { type: T }>;
      if (this.failure && type !== "closed") throw this.failure;
      if (report) {
        deadline = performance.now() + this.#timeout;
        continue;
      }
      const now = performance.now();
      if (now > deadline) throw this.timedOut();
      if (this.#isStillborn()) throw this.#died(null);
      const stopped = this.#slots.waitForBell(seen, deadline - now);
      deadline += stopped;
      this.#born += stopped;
    }
  }

  /** The next report that has come, if any. Does not wait. @throws LockstepError its failure */
  nextReport(): Report | null {
    const report = this.#next();
    if (this.failure) throw this.failure;
    if (!report && this.#isStillborn()) throw this.#died(null);
    return report;
  }

  /**
   * Takes note of the news that have come, and leaves answers to whoever asks for them. Does not wait.
   * @throws LockstepError its failure
   */
  hear(): void {
    const answers: Report[] = [];
    for (let report = this.nextReport(); report; report = this.nextReport()) {
      if (report.type !== "progress" && report.type !== "image-made") answers.push(report);
    }
    this.#inbox.push(...answers);
  }

  /** Has it reported `type`? Does not wait. @throws LockstepError its failure */
  arrived(type: Report["type"]): boolean {
    const report = this.#next();
    if (this.failure) throw this.failure;
    return report?.type === type;
  }

  /** Waits until the worker has locked the replica and reported what it is. */
  look(): void {
    if (!this.#isLooked) this.wait("described");
  }

  /** Has the worker mirror from the ring; of a replica that was only glimpsed, if it is still so. */
  attach(timeline: number): void {
    this.#seen = this.#isLooked ? null : this.copy;
    this.post({ type: "attach", timeline, seen: this.#seen });
    this.post({ type: "join", tail: 0 });
  }

  /** What the replica holds, as it was glimpsed; else waits until the worker has attached it. */
  attachedAt(): Position {
    return this.#seen?.position ?? this.wait("attached").position;
  }

  /** Looks at the replica again; at a stream, into all of its past. */
  refresh(): void {
    this.post({ type: "describe" });
    this.wait("described");
  }

  /** Its failure, if it has posted one. */
  poll(): LockstepError | null {
    if (this.#slots.state(this.index) === states.FAILED) {
      while (!this.failure && this.#next()) {}
    }
    if (this.#isStillborn()) this.#died(null);
    return this.failure;
  }

  /** Tells the worker to stop its long work; before the primary moves on beneath it. */
  giveUp(): void {
    this.#slots.giveUp(this.index);
  }

  /** Marks it as not answering: nothing will wait for it again. */
  timedOut(): LockstepError {
    this.#hung = true;
    this.giveUp(); // durable: a late worker is told
    this.failure ??= this.isStream ? this.#inDoubt() : this.#late();
    return this.failure;
  }

  #inDoubt(): LockstepError {
    return new LockstepError(codes.IN_DOUBT, {
      copy: this.path,
      what: `The stream did not answer within ${this.#timeout} ms`,
      state:
        "The primary holds every acknowledged transaction; whether the stream holds the last, or will, is unknown",
      next: "See whether its servers are up; then reopen: the start finds out before anything else is written",
    });
  }

  #late(): LockstepError {
    return new LockstepError(codes.REPLICA_TIMEOUT, {
      copy: this.path,
      what: `The replica did not answer within ${this.#timeout} ms`,
      state:
        "The primary holds every acknowledged transaction; whether the replica holds the last is unknown",
      next: "Check the replica's disk; then reopen: the start brings the copies together",
    });
  }

  /** Nobody waits for it again: it lets go of the replica, as soon as it can. */
  dismiss(event: string): void {
    this.onFailure = () => {};
    this.giveUp(); // durable: before the primary moves on without it
    this.post({ type: "close", event, fold: false });
  }

  /** Has it let go of the replica, or did its thread end? */
  get hasLetGo(): boolean {
    return this.#ended || this.#slots.state(this.index) === states.CLOSED;
  }

  /** Blocks until it has let go, or for so many milliseconds. */
  waitUntilGone(milliseconds: number): void {
    const deadline = performance.now() + milliseconds;
    for (;;) {
      const seen = this.#slots.bell();
      const left = deadline - performance.now();
      if (this.hasLetGo || this.#hung || left <= 0) return;
      this.#slots.waitForBell(seen, left);
    }
  }

  /**
   * Lets go of the replica. Does not wait for a worker that hangs: it lets go when it can.
   * @param fold to be at rest; else its log stays, as after a crash
   */
  close(fold: boolean, event: string): void {
    if (this.hasLetGo) return;
    this.post({ type: "close", event, fold });
    if (!this.#hung) this.wait("closed");
  }

  /** The next report that has come, if any. */
  #next(): Report | null {
    const waiting = this.#inbox.shift();
    if (waiting) return waiting;
    const message = receiveMessageOnPort(this.#port) as { message: Report } | undefined;
    return message ? this.#take(message.message) : null;
  }

  /** A report that the event loop brought, while nobody waited for one. */
  #unasked(report: Report): void {
    const known = this.failure;
    this.#inbox.push(this.#take(report));
    if (this.failure && !known) this.onFailure(this.failure);
  }

  /** Its thread should run by now; its end cannot be seen while we block. */
  #isStillborn(): boolean {
    const isNone = this.#slots.state(this.index) === states.NONE;
    return isNone && performance.now() > this.#born + BOOT_MS;
  }

  #take(report: Report): Report {
    if (report.type === "described") {
      this.copy = report.copy;
      this.messages = report.messages ?? 0;
      this.accepted = report.accepted ?? this.accepted;
      this.#isLooked = true;
    }
    if (report.type === "image-made") this.images++;
    if (report.type === "followed") this.followed++;
    if (report.type === "attached") this.copyId = report.copyId;
    this.last = report.last ?? this.last;
    if (report.type === "progress") {
      this.progressAt = performance.now();
      tellApplication(() => this.#onProgress?.(report.progress));
    }
    if (report.type === "failed") this.failure ??= fromErrorData(report.error);
    return report;
  }

  #died(cause: Error | null): LockstepError | null {
    if (this.#slots.state(this.index) === states.CLOSED || this.failure) return this.failure;
    this.#hung = true;
    this.failure = new LockstepError(codes.WORKER_DIED, {
      copy: this.path,
      what: `The thread that mirrors to the replica ended${cause ? `: ${cause.message}` : ""}`,
      state: "Every acknowledged transaction is on every copy; nothing more is acknowledged",
      next: "Reopen: the start brings the copies together",
      ...(cause ? { cause } : {}),
    });
    this.onFailure(this.failure);
    return this.failure;
  }
}

export interface MirrorContext {
  /** The primary's path. */
  readonly primary: string;
  /** Where the replicas are, by number: paths, and addresses of streams. */
  readonly addresses: readonly string[];
  /** The last message that a stream has acknowledged, as far as that is on record; 0: none. */
  readonly known: (stream: string) => number;
  readonly driver: DriverName;
  readonly memory: SharedMemory;
  readonly slots: Slots;
  /** In milliseconds. */
  readonly timeout: number;
  readonly onProgress: ((progress: Progress) => void) | null;
}
