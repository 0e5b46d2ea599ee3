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
import { type Ahead, joinAhead } from "../lineage/keeper.ts";
import { isShortage } from "../shortage.ts";
import { closeUnused } from "../targets/file.ts";
import type { BackfillCommand, BackfillerData, BackfillReport } from "./messages.ts";
import { type SharedMemory, type Slots, Turn } from "./slots.ts";

/**
 * How long a thread that is waited for may take to begin, in milliseconds. One that could not be started says so only
 * when the event loop turns, which it does not while somebody waits.
 */
const BEGIN_MS = 1000;

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
  readonly #primary: string;
  #thread: Thread | null = null;
  /** What it is at work on. */
  #copies: readonly HasPath[] | null = null;
  /** Was one given up, and the event loop has not turned since, so that the next would do no better? */
  #isGivenUp = false;
  /** What it has summed of each copy's log, and its owner was not told yet. */
  #ahead = new WeakMap<HasPath, Ahead>();

  constructor(context: BackfillerContext, primary: string) {
    this.#context = context;
    this.#primary = primary;
  }

  /**
   * Without the descriptors or the memory for a thread nothing is folded ahead this time.
   * @param copies who owns them, the primary's first
   */
  start(copies: readonly HasPath[]): void {
    if (this.#isGivenUp) return;
    try {
      this.#thread ??= this.#startThread();
    } catch (error) {
      if (!isShortage(error)) throw error;
      this.frames = 0;
      return;
    }
    this.#copies = copies;
    this.#thread.turn.begin();
    this.#post({ type: "backfill", copies: copies.map(({ path }) => path) });
  }

  /**
   * Takes its report, if there is one; says whether it is still at work.
   * @throws LockstepError its failure
   */
  poll(): boolean {
    if (!this.#copies) return false;
    const thread = this.#thread as Thread;
    const message = receiveMessageOnPort(thread.port) as { message: BackfillReport } | undefined;
    if (!message && thread.ended) {
      // An error without a code is a bug of ours.
      if (!thread.turn.isUntouched || !("code" in thread.ended)) throw this.#died(thread.ended);
      // It began with no copy. For want of descriptors or memory it could not be started, or not read its own script.
      this.#giveUp();
      return false;
    }
    if (!message) return true;
    const copies = this.#copies;
    this.#copies = null;
    const report = message.message;
    if (report.type === "backfill-failed") {
      for (const copy of copies) this.#note(copy, "untold");
      throw fromErrorData(report.error);
    }
    this.frames = report.frames;
    thread.files = report.files;
    for (const [i, ahead] of report.ahead.entries()) this.#note(copies[i] as HasPath, ahead);
    return false;
  }

  /** What was written into the sums of a copy since this was last asked; undefined: nothing. */
  takeAhead(owner: HasPath): Ahead | undefined {
    const ahead = this.#ahead.get(owner);
    this.#ahead.delete(owner);
    return ahead;
  }

  #note(owner: HasPath, ahead: Ahead | undefined): void {
    if (ahead === undefined) return;
    const before = this.#ahead.get(owner);
    this.#ahead.set(owner, before === undefined ? ahead : joinAhead(before, ahead));
  }

  /** Blocks until it has nothing to do. @throws LockstepError its failure, or that it hangs */
  wait(): void {
    const { slots, timeout } = this.#context;
    let began = performance.now();
    for (;;) {
      const seen = slots.bell();
      if (!this.poll()) return;
      const { turn, files } = this.#thread as Thread;
      const waited = performance.now() - began;
      // One that has begun before has descriptors, which would stay open.
      if (waited >= BEGIN_MS && files.length === 0 && turn.abandonUntouched()) {
        this.#giveUp();
        return;
      }
      if (waited >= timeout) {
        this.#hangs();
        return;
      }
      began += slots.waitForBell(seen, timeout - waited);
    }
  }

  /** Ends the thread. Every connection of this process's that we know of is closed. */
  close(): void {
    if (!this.#thread) return;
    this.#post({ type: "end" });
    if (this.#copies) return;
    for (const [path, file] of this.#thread.files) closeUnused(path, file);
  }

  /**
   * The thread is left to itself, with the descriptors that it has. It begins with no other copy.
   * @throws LockstepError if it hangs at one; else it could not be started, or not in time, and nothing was folded
   */
  #hangs(): void {
    const copies = this.#copies as readonly HasPath[];
    const at = (this.#thread as Thread).turn.abandon();
    this.#giveUp();
    if (at === null) return;
    const { path: copy } = copies[at] as HasPath;
    for (const each of copies) this.#note(each, "untold");
    const { timeout } = this.#context;
    if (copy === this.#primary) throw this.#died(new Error(`it did not end within ${timeout} ms`));
    throw new LockstepError(codes.REPLICA_TIMEOUT, {
      copy,
      what: `Its log could not be folded into its file within ${timeout} ms`,
      state: "Every acknowledged transaction is on every copy",
      next: "Check the replica's disk; then reopen: the start brings the copies together",
    });
  }

  /** The next round has another thread. */
  #giveUp(): void {
    this.#post({ type: "end" });
    this.#thread = this.#copies = null;
    this.frames = 0;
    this.#isGivenUp = true;
    setImmediate(() => {
      this.#isGivenUp = false;
    });
  }

  #startThread(): Thread {
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    const { driver, memory } = this.#context;
    const turn = new Turn();
    const workerData: BackfillerData = {
      primary: this.#primary,
      turn: turn.cell,
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
    const thread: Thread = { port: port1, turn, files: [], ended: null };
    worker.on("error", (error) => {
      thread.ended = error as Error;
    });
    return thread;
  }

  #post(command: BackfillCommand): void {
    this.#thread?.port.postMessage(command);
  }

  #died(cause: Error): LockstepError {
    return new LockstepError(codes.WORKER_DIED, {
      copy: this.#primary,
      what: `The thread that folds the logs into the files ended or hangs: ${cause.message}`,
      state: "Every acknowledged transaction is on every copy; nothing more is acknowledged",
      next: "Check the copies' disks, then reopen: the start brings the copies together",
      cause,
    });
  }
}

/** The primary, or a mirror: a replica that comes back has another. */
interface HasPath {
  readonly path: string;
}

interface Thread {
  readonly port: MessagePort;
  readonly turn: Turn;
  /** Its descriptors of the copies' files. */
  files: readonly (readonly [path: string, descriptor: number])[];
  ended: Error | null;
}
