/**
 * The committing thread's hold on the thread that folds the copies in the background. It is started
 * when there is something to fold for the first time.
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
import { closeUnused } from "../targets/file.ts";
import type { BackfillCommand, BackfillerData, BackfillReport } from "./messages.ts";
import type { SharedMemory, Slots } from "./slots.ts";

export interface BackfillerContext {
  readonly driver: DriverName;
  readonly memory: SharedMemory;
  readonly slots: Slots;
  /** In milliseconds. */
  readonly timeout: number;
}

export class Backfiller {
  /** How many frames of the log it has put, or found, in every copy's file, the last time. */
  frames = 0;
  readonly #context: BackfillerContext;
  /** The primary's first. */
  readonly #copies: readonly [string, ...string[]];
  #port: MessagePort | null = null;
  #running = false;
  #ended: Error | null = null;
  /** The thread's descriptors of the copies' files. */
  #files: OpenFiles = [];

  constructor(context: BackfillerContext, copies: readonly [string, ...string[]]) {
    this.#context = context;
    this.#copies = copies;
  }

  start(): void {
    this.#port ??= this.#startThread();
    this.#running = true;
    this.#post({ type: "backfill" });
  }

  /**
   * Takes its report, if there is one; says whether it is still at work.
   * @throws LockstepError its failure
   */
  poll(): boolean {
    if (!this.#running) return false;
    const message = receiveMessageOnPort(this.#port as MessagePort) as
      | { message: BackfillReport }
      | undefined;
    if (!message && this.#ended) throw this.#died(this.#ended);
    if (!message) return true;
    this.#running = false;
    const report = message.message;
    if (report.type === "backfill-failed") throw fromErrorData(report.error);
    this.frames = report.frames;
    this.#files = report.files;
    return false;
  }

  /** Blocks until it has nothing to do. @throws LockstepError its failure, or that it hangs */
  wait(): void {
    const { slots, timeout } = this.#context;
    const deadline = performance.now() + timeout;
    for (;;) {
      const seen = slots.bell();
      if (!this.poll()) return;
      const left = deadline - performance.now();
      if (left <= 0) throw this.#died(new Error(`it did not end within ${timeout} ms`));
      slots.waitForBell(seen, left);
    }
  }

  /** Ends the thread. Every connection of this process's that we know of is closed. */
  close(): void {
    if (!this.#port) return;
    this.#post({ type: "end" });
    if (this.#running) return;
    for (const [path, file] of this.#files) closeUnused(path, file);
  }

  #startThread(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    const { driver, memory } = this.#context;
    const workerData: BackfillerData = {
      copies: this.#copies,
      driver,
      memory,
      port: port2,
    };
    const worker = new Worker(
      new URL(`../mirror/backfiller${extname(import.meta.url)}`, import.meta.url),
      {
        workerData,
        transferList: [port2],
        trackUnmanagedFds: false, // descriptors of a live database must not be closed
        resourceLimits: { maxYoungGenerationSizeMb: 1 }, // it makes hardly any garbage
        execArgv: [],
      },
    );
    worker.unref();
    worker.on("error", (error) => {
      this.#ended = error as Error;
    });
    return port1;
  }

  #post(command: BackfillCommand): void {
    this.#port?.postMessage(command);
  }

  #died(cause: Error): LockstepError {
    return new LockstepError(codes.WORKER_DIED, {
      copy: this.#copies[0],
      what: `The thread that folds the logs into the files ended or hangs: ${cause.message}`,
      state: "Every acknowledged transaction is on every copy; nothing more is acknowledged",
      next: "Check the copies' disks, then reopen: the start brings the copies together",
      cause,
    });
  }
}

type OpenFiles = readonly (readonly [path: string, descriptor: number])[];
