/**
 * The committing thread's hold on one mirror worker: start it, command it, take its reports.
 * `wait`, `look`, `refresh`, `attached` and `close` block, never longer than `timeout` without a sign of
 * life; the others do not.
 */
import { extname } from "node:path";
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from "node:worker_threads";
import type { DriverName } from "../driver.ts";
import { codes, fromErrorData, LockstepError } from "../errors.ts";
import type { Copy } from "../lineage/describe.ts";
import type { Position } from "../lineage/position.ts";
import type { Progress } from "../options.ts";
import type { Command, Report, WorkerData } from "./messages.ts";
import { type SharedMemory, type Slots, states } from "./slots.ts";

const SLICE_MS = 1000;
/** How long a thread may take until it runs its first line, in milliseconds. */
const BOOT_MS = 15_000;

export class Mirror {
  readonly path: string;
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
  /** Has the worker reported the replica? */
  #isLooked = false;
  #isAttached = false;
  #hung = false;
  readonly #born = performance.now();

  constructor(
    { driver, memory, slots, timeout, onProgress }: MirrorContext,
    path: string,
    index: number,
    glimpsed: Copy | null,
  ) {
    this.path = path;
    this.index = index;
    this.copy = glimpsed;
    this.#slots = slots;
    this.#timeout = timeout;
    this.#onProgress = onProgress;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.unref();
    const workerData: WorkerData = { replica: index, path, driver, memory, port: port2 };
    this.#worker = new Worker(
      new URL(`../mirror/worker${extname(import.meta.url)}`, import.meta.url),
      {
        workerData,
        transferList: [port2],
        // Descriptors of a live database must not be closed behind SQLite's back, see targets/file.ts.
        trackUnmanagedFds: false,
        resourceLimits: { maxYoungGenerationSizeMb: 2 }, // it makes little garbage; saves megabytes
        execArgv: [], // what the program was started with is not for this
      },
    );
    this.#worker.unref();
    this.#worker.on("error", (error) => this.#died(error as Error));
    this.#worker.on("exit", () => this.#died(null));
  }

  /** Called when the worker fails while nobody waits for it. */
  onFailure: (failure: LockstepError) => void = () => {};

  post(command: Command): void {
    this.#port.postMessage(command);
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
      const message = receiveMessageOnPort(this.#port) as { message: Report } | undefined;
      if (message) {
        deadline = performance.now() + this.#timeout;
        const report = this.#take(message.message);
        if (report.type === type) return report as Extract<Report, { type: T }>;
        if (this.failure && type !== "closed") throw this.failure;
        continue;
      }
      const now = performance.now();
      if (now > deadline) throw this.timedOut();
      if (now > this.#born + BOOT_MS && this.#slots.state(this.index) === states.NONE) {
        throw this.#died(null); // its own event cannot be seen while we block
      }
      this.#slots.waitForBell(seen, Math.min(deadline - now, SLICE_MS));
    }
  }

  /** Has it reported `type`? Does not wait. @throws LockstepError its failure */
  arrived(type: Report["type"]): boolean {
    const message = receiveMessageOnPort(this.#port) as { message: Report } | undefined;
    if (!message) return false;
    const report = this.#take(message.message);
    if (this.failure) throw this.failure;
    return report.type === type;
  }

  /** Waits until the worker has locked the replica and reported what it is. */
  look(): void {
    if (!this.#isLooked) this.wait("described");
  }

  /**
   * Has the worker mirror from the ring. Does not wait for a replica that was only glimpsed: the
   * worker then checks that it is still as it was seen.
   * @returns what the replica holds
   */
  attach(timeline: number): Position {
    const seen = this.#isLooked ? null : this.copy;
    this.post({ type: "attach", timeline, seen });
    return seen?.position ?? this.wait("attached").position;
  }

  /** Waits until it mirrors. */
  attached(): void {
    if (!this.#isAttached) this.wait("attached");
  }

  /** Looks at the replica again. */
  refresh(): void {
    this.post({ type: "describe" });
    this.wait("described");
  }

  /** Its failure, if it has posted one. */
  poll(): LockstepError | null {
    if (this.#slots.state(this.index) === states.FAILED) {
      for (
        let message = receiveMessageOnPort(this.#port) as { message: Report } | undefined;
        message;
        message = receiveMessageOnPort(this.#port) as { message: Report } | undefined
      ) {
        this.#take(message.message);
      }
    }
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
    this.failure ??= new LockstepError(codes.REPLICA_TIMEOUT, {
      copy: this.path,
      what: `The replica did not answer within ${this.#timeout} ms`,
      state:
        "The primary holds every acknowledged transaction; whether the replica holds the last is unknown",
      next: "Check the replica's disk; then reopen: the start brings the copies together",
    });
    return this.failure;
  }

  /**
   * Lets go of the replica. Does not wait for a worker that hangs: it lets go when it can.
   * @param fold to be at rest; else its log stays, as after a crash
   */
  close(fold: boolean, event: string): void {
    if (this.#slots.state(this.index) === states.CLOSED) return;
    this.post({ type: "close", event, fold });
    if (!this.#hung) this.wait("closed");
  }

  #take(report: Report): Report {
    if (report.type === "described") {
      this.copy = report.copy;
      this.#isLooked = true;
    }
    if (report.type === "attached") this.#isAttached = true;
    if (report.type === "progress") this.#onProgress?.(report.progress);
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
  readonly driver: DriverName;
  readonly memory: SharedMemory;
  readonly slots: Slots;
  /** In milliseconds. */
  readonly timeout: number;
  readonly onProgress: ((progress: Progress) => void) | null;
}
