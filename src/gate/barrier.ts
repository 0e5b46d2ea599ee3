/**
 * Durability `barrier`: a statement returns once its commit is seen (`Gate.note`); whoever needs to
 * know waits for `durable()`. Many callers share one round, which is one sync of each copy:
 *
 *   1  all that was noted up to now is handed over, and every mirror told to sync it
 *   2  the primary's log is synced in the thread pool, at the same time
 *   3  when all have, everybody who had asked before the round began is answered
 *
 * A round begins when the callers that were answered by the one before have had their turn, so that
 * their next commits go together; or once a batch is handed over and half of those who are at it wait, so
 * that the copies sync it while the other half commit. Without callers one begins now and then. To wait
 * for a sync blocks nobody; to hand over does if the ring is full, or to put a new generation on record.
 */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import { formatPosition, type Position } from "../lineage/position.ts";
import type { DurableOptions } from "../observe.ts";
import type { Gate } from "./gate.ts";
import type { Primary } from "./primary.ts";
import type { Slots } from "./slots.ts";

/** How long a commit that nobody waits for stays unsynced, in milliseconds. */
const UNAWAITED_MS = 100;
/** After so many statements, or milliseconds, it is looked at how much is noted by now. */
const LOOK_STATEMENTS = 8;
const LOOK_MS = 1;
const LONGEST_TIMER_MS = 0x7fffffff;

export class Barrier {
  readonly #gate: Gate;
  readonly #primary: Primary;
  readonly #slots: Slots;
  /** In milliseconds. */
  readonly #timeout: number;
  /** Fences the connections; returns the failure that did. */
  readonly #fence: (error: unknown) => LockstepError;
  /** A descriptor of its own: each is told once of a failed write, and the gate's must hear of it. */
  readonly #log: number;
  #syncing = false;
  #running: Round | null = null;
  /** Those who wait for the round after the one that is running. */
  #next: Round | null = null;
  /** Half of those who wait, or were answered just now and may come again. */
  #half = 0;
  #lazily: NodeJS.Timeout | null = null;
  /** How many statements were not looked at, and when the last one was that was. */
  #unseen = 0;
  #seenAt = 0;
  #closed = false;

  constructor(gate: Gate, primary: Primary, { slots, timeout, fence }: BarrierContext) {
    this.#gate = gate;
    this.#primary = primary;
    this.#slots = slots;
    this.#timeout = timeout;
    this.#fence = fence;
    this.#log = fs.openSync(`${primary.path}-wal`, "r");
  }

  /** Resolves with the position when all that was noted before the call is durable. */
  durable({ signal, timeout }: DurableOptions = {}): Promise<string> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    const round = this.#gate.settled ? null : this.#join();
    if (!round) return Promise.resolve(formatPosition(this.#gate.durable));
    round.awaited();
    if (this.#gate.hasBatch && round.callers >= this.#half) this.#begin();
    if (!signal && timeout === undefined) return round.promise;
    return impatient(round.promise, signal, timeout, this.#primary.path);
  }

  /**
   * After what may have committed: must the log be looked at? Not each time, if something is noted already:
   * it is known then that there is something to be synced, and not only how much it is by now.
   * @throws LockstepError what a mirror has failed with, if commits do not go on without it
   */
  isDue(): boolean {
    const now = performance.now();
    const isSeen = this.#gate.noted && now - this.#seenAt < LOOK_MS;
    if (isSeen && ++this.#unseen < LOOK_STATEMENTS && !this.#primary.foreign) {
      this.#gate.pollFailures();
      return false;
    }
    [this.#unseen, this.#seenAt] = [0, now];
    return true;
  }

  /** Something was committed; perhaps nobody will ask for it. */
  touch(): void {
    if (this.#lazily || this.#next || this.#running) return;
    this.#lazily = setTimeout(() => {
      this.#lazily = null;
      if (!this.#closed && !this.#gate.settled) this.#join();
    }, UNAWAITED_MS).unref();
  }

  /** Nothing more will become durable. */
  fail(failure: LockstepError): void {
    for (const round of [this.#running, this.#next]) round?.reject(failure);
  }

  /** Everything was settled by the gate, or has failed. */
  close(): void {
    this.#closed = true;
    if (this.#lazily) clearTimeout(this.#lazily);
    const position = formatPosition(this.#gate.durable);
    for (const round of [this.#running, this.#next]) round?.resolve(position);
    if (!this.#syncing) fs.closeSync(this.#log);
  }

  /** The round that covers all that was handed over up to now. */
  #join(): Round {
    const { noted, mark } = this.#gate;
    if (!noted && this.#running?.position === mark.position) return this.#running;
    if (!this.#next) {
      this.#next = new Round();
      if (!this.#running) setImmediate(() => this.#begin());
    }
    return this.#next;
  }

  #begin(): void {
    const round = this.#next;
    if (!round || this.#running || this.#closed) return;
    this.#next = null;
    this.#running = round;
    this.#run(round).then(
      () => this.#end(round),
      (error) => this.#closed || round.reject(this.#fence(error)),
    );
  }

  #end(round: Round): void {
    this.#gate.meter.committed(round.born);
    round.resolve(formatPosition(this.#gate.durable));
    if (this.#closed) return;
    this.#running = null;
    this.#half = (round.callers + (this.#next?.callers ?? 0)) / 2;
    if (this.#next) setImmediate(() => this.#begin());
    else if (!this.#gate.settled) this.touch();
  }

  async #run(round: Round): Promise<void> {
    const marked = performance.now();
    this.#gate.handOver();
    const { mark, meter } = this.#gate;
    meter.oldest ||= marked;
    round.position = mark.position;
    const head = this.#gate.requestSync();
    await Promise.all([this.#syncPrimary(), this.#confirmed(head)]);
    if (!this.#closed) this.#gate.becameDurable(mark, marked);
  }

  #syncPrimary(): Promise<void> {
    this.#primary.assertLogHasName();
    this.#syncing = true;
    return new Promise((resolve, reject) => {
      // durable: the primary has the commit
      fs.fdatasync(this.#log, (error) => {
        this.#syncing = false;
        if (this.#closed) fs.closeSync(this.#log);
        if (error) reject(error);
        else resolve();
      });
    });
  }

  /** Resolves when every replica has synced up to `head`. The order of reads is slots.ts's. */
  async #confirmed(head: number): Promise<void> {
    let tail = this.#gate.slowestTail;
    let deadline = performance.now() + this.#timeout;
    while (!this.#closed) {
      const seen = this.#slots.bell();
      if (this.#gate.isConfirmed(head)) return;
      if (tail !== this.#gate.slowestTail) {
        tail = this.#gate.slowestTail;
        deadline = performance.now() + this.#timeout;
      }
      this.#gate.pollMirrors();
      const now = performance.now();
      if (now >= deadline) {
        this.#gate.timeOut();
        deadline = now + this.#timeout; // of those that are left
      }
      deadline += await this.#slots.whenBell(seen, deadline - now);
    }
  }
}

export interface BarrierContext {
  readonly slots: Slots;
  /** In milliseconds. */
  readonly timeout: number;
  readonly fence: (error: unknown) => LockstepError;
}

/** One sync of every copy, and those who wait for it. */
class Round {
  /** What is durable when it ends; null until it begins. */
  position: Position | null = null;
  /** When its first caller came. */
  readonly born = performance.now();
  readonly promise: Promise<string>;
  callers = 0;
  #resolve!: (position: string) => void;
  #reject!: (error: LockstepError) => void;
  /** Shared memory and the thread pool's descriptors do not keep a process alive: this does. */
  readonly #alive = setTimeout(() => {}, LONGEST_TIMER_MS).unref();

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.promise.catch(() => {}); // without callers the failure is told by what fences
  }

  awaited(): void {
    if (this.callers++ === 0) this.#alive.ref();
  }

  resolve(position: string): void {
    clearTimeout(this.#alive);
    this.#resolve(position);
  }

  reject(error: LockstepError): void {
    clearTimeout(this.#alive);
    this.#reject(error);
  }
}

/** The promise, for a caller who does not wait for ever. */
function impatient(
  promise: Promise<string>,
  signal: AbortSignal | undefined,
  timeout: number | undefined,
  copy: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal?.reason as Error);
    const timer =
      timeout === undefined || timeout > LONGEST_TIMER_MS
        ? null
        : setTimeout(() => reject(deadline(copy, timeout)), timeout);
    signal?.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      if (timer) clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    });
  });
}

/** Whether it is durable is not known yet, and may be at any moment. */
export function deadline(copy: string, timeout: number): LockstepError {
  return new LockstepError(codes.DEADLINE, {
    copy,
    what: `Not every copy has synced what was committed within ${timeout} ms`,
    state: "It is in the primary, in order; whether every copy has it is not known yet",
    next: "Ask durable() again: the sync goes on",
  });
}

/** @throws LockstepError BAD_OPTION */
export function assertTimeout(timeout: unknown): void {
  if (timeout === undefined || (typeof timeout === "number" && timeout >= 0)) return;
  throw new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `Option \`timeout\` must be a number of milliseconds, not ${String(timeout)}`,
    state: "Nothing was waited for",
    next: "Correct the option",
  });
}
