/**
 * The committing thread's hold on the thread that folds one copy in the background. It is started
 * when there is something to fold for the first time.
 */
import fs from "node:fs";
import { extname } from "node:path";
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from "node:worker_threads";
import type { DriverName } from "../driver.ts";
import { codes, fromErrorData, LockstepError } from "../errors.ts";
import type { FolderCommand, FolderData, FolderReport } from "./messages.ts";
import type { SharedMemory, Slots } from "./slots.ts";

export interface FolderContext {
  readonly driver: DriverName;
  readonly memory: SharedMemory;
  readonly slots: Slots;
  /** In milliseconds. */
  readonly timeout: number;
}

export class Folder {
  readonly path: string;
  /** Is it at work? */
  running = false;
  /** How many frames of the log it has found or put in the file, the last time. */
  frames = 0;
  readonly #role: FolderData["role"];
  readonly #context: FolderContext;
  #port: MessagePort | null = null;
  #ended: Error | null = null;
  /** The thread's descriptor of the file. */
  #file = -1;

  constructor(context: FolderContext, path: string, role: FolderData["role"]) {
    this.#context = context;
    this.path = path;
    this.#role = role;
  }

  start(): void {
    this.#port ??= this.#startThread();
    this.running = true;
    this.#post({ type: "fold-ahead" });
  }

  /**
   * Takes its report, if there is one; says whether it is still at work.
   * @throws LockstepError its failure
   */
  poll(): boolean {
    if (!this.running) return false;
    const message = receiveMessageOnPort(this.#port as MessagePort) as
      | { message: FolderReport }
      | undefined;
    if (!message && this.#ended) throw this.#died(this.#ended);
    if (!message) return true;
    this.running = false;
    const report = message.message;
    if (report.type === "folder-failed") throw fromErrorData(report.error);
    this.frames = report.frames;
    this.#file = report.file;
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
      slots.waitForBell(seen, Math.min(left, SLICE_MS));
    }
  }

  /** Ends the thread. Every connection of this process's that we know of is closed. */
  close(): void {
    if (!this.#port) return;
    this.#post({ type: "end" });
    // While SQLite's index has a name, another connection may be in use whose locks would be dropped.
    if (this.running || this.#file < 0 || fs.existsSync(`${this.path}-shm`)) return;
    fs.closeSync(this.#file);
  }

  #startThread(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    const { driver, memory } = this.#context;
    const workerData: FolderData = {
      path: this.path,
      driver,
      role: this.#role,
      memory,
      port: port2,
    };
    const worker = new Worker(
      new URL(`../mirror/folder${extname(import.meta.url)}`, import.meta.url),
      {
        workerData,
        transferList: [port2],
        trackUnmanagedFds: false, // descriptors of a live database must not be closed
        execArgv: [],
      },
    );
    worker.unref();
    worker.on("error", (error) => {
      this.#ended = error as Error;
    });
    return port1;
  }

  #post(command: FolderCommand): void {
    this.#port?.postMessage(command);
  }

  #died(cause: Error): LockstepError {
    return new LockstepError(codes.WORKER_DIED, {
      copy: this.path,
      what: `The thread that folds its log into its file ended or hangs: ${cause.message}`,
      state: "Every acknowledged transaction is on every copy; nothing more is acknowledged",
      next: "Check the disk, then reopen: the start brings the copies together",
      cause,
    });
  }
}

const SLICE_MS = 1000;
