/**
 * Every cell that threads share, by name, and the order of stores and loads that makes it safe.
 * The only file that calls Atomics.
 *
 * The committing thread (one) and the mirror workers (one a replica) share an Int32Array of cells
 * and the ring's bytes. Offsets into the ring are u32 counters that wrap; the difference of two is
 * what counts.
 *
 *   HEAD       stored by the committing thread AFTER the bytes before it are in the ring
 *   SYNC       stored by the committing thread AFTER HEAD: what must be synced, up to there
 *   WORK       counted up by the committing thread after HEAD and SYNC were stored or a command was posted
 *   BELL       counted up by a worker after its TAIL or STATE was stored or a message was posted
 *   TAIL(i)    stored by worker i; passes a transaction's end only AFTER that is synced on replica i.
 *              When a replica rejoins, stored by the committing thread BEFORE the worker is told
 *   STATE(i)   stored by worker i, see `states`; FAILED only AFTER the error was posted
 *   GIVEN_UP(i)  stored by the committing thread when it stops waiting for worker i, BEFORE the
 *              primary may move on: what worker i reads of the primary, or of the ring, from then
 *              on is worth nothing. It reads GIVEN_UP AFTER it has used what it read
 *
 * Beside the cells are counters of 64 bits, which do not wrap: how long worker i's syncs took. It adds to
 * them when it has confirmed, so that nobody waits for that; they are read at any time.
 *
 * Whoever waits reads the counter FIRST, then looks whether there is something to do, then waits
 * for the counter to differ from what it read: a store in between ends the wait at once.
 */
import { BUCKETS, bucketOf, type Latencies, latenciesOf } from "../histogram.ts";

export const states = {
  /** The thread does not run yet. */
  NONE: 0,
  /** Not yet attached: looking, copying, catching up. */
  STARTING: 1,
  /** Mirrors what comes through the ring. */
  ATTACHED: 2,
  /** Has posted its error and writes no more. */
  FAILED: 3,
  /** Has let go of the replica. */
  CLOSED: 4,
} as const;
export type State = (typeof states)[keyof typeof states];

const SLICE_MS = 1000;

const HEAD = 0;
const WORK = 1;
const BELL = 2;
const SYNC = 3;
const PER_REPLICA = 4;
const TAIL = 0;
const STATE = 1;
const GIVEN_UP = 2;
const CELLS_PER_REPLICA = 3;
/** Of the counters: the buckets, then the microseconds of all syncs. */
const COUNTERS_PER_REPLICA = BUCKETS + 1;

/** The shared memory of one hub; structured-cloneable, so that a worker can be given it. */
export interface SharedMemory {
  readonly cells: Int32Array<SharedArrayBuffer>;
  readonly counters: BigInt64Array<SharedArrayBuffer>;
  readonly ring: Uint8Array<SharedArrayBuffer>;
}

export function allocate(replicas: number, ringBytes: number): SharedMemory {
  const cells = PER_REPLICA + replicas * CELLS_PER_REPLICA;
  return {
    cells: new Int32Array(new SharedArrayBuffer(cells * 4)),
    counters: new BigInt64Array(new SharedArrayBuffer(replicas * COUNTERS_PER_REPLICA * 8)),
    ring: new Uint8Array(new SharedArrayBuffer(ringBytes)),
  };
}

/** The cells by name. Both sides make one over the same memory. */
export class Slots {
  readonly #cells: Int32Array<SharedArrayBuffer>;
  readonly #counters: BigInt64Array<SharedArrayBuffer>;

  constructor(memory: SharedMemory) {
    this.#cells = memory.cells;
    this.#counters = memory.counters;
  }

  head(): number {
    return Atomics.load(this.#cells, HEAD) >>> 0;
  }

  tail(replica: number): number {
    return Atomics.load(this.#cells, at(replica, TAIL)) >>> 0;
  }

  state(replica: number): State {
    return Atomics.load(this.#cells, at(replica, STATE)) as State;
  }

  // The committing thread's side.

  /** Publishes the ring up to `head`, to be synced or not yet, and wakes the workers. */
  publish(head: number, sync: boolean): void {
    Atomics.store(this.#cells, HEAD, head | 0);
    if (sync) Atomics.store(this.#cells, SYNC, head | 0);
    this.wakeWorkers();
  }

  wakeWorkers(): void {
    Atomics.add(this.#cells, WORK, 1);
    Atomics.notify(this.#cells, WORK);
  }

  /** The counter to read before looking, and to hand to `waitForBell`. */
  bell(): number {
    return Atomics.load(this.#cells, BELL);
  }

  /**
   * Blocks until a worker rings after `seen` was read, at most `milliseconds`, and never longer than a
   * second at once: a thread that ended, or never ran, rings no bell.
   * @returns for how many milliseconds more it slept than that, if by far: then the process was stopped,
   *   a container paused, and the workers with it. No deadline of theirs runs meanwhile
   */
  waitForBell(seen: number, milliseconds: number): number {
    const slice = Math.min(milliseconds, SLICE_MS);
    const began = performance.now();
    Atomics.wait(this.#cells, BELL, seen, slice);
    return stoppedFor(performance.now() - began - slice);
  }

  /** The same without blocking. */
  async whenBell(seen: number, milliseconds: number): Promise<number> {
    const slice = Math.min(milliseconds, SLICE_MS);
    const began = performance.now();
    const { async, value } = Atomics.waitAsync(this.#cells, BELL, seen, slice);
    if (async) await value;
    return stoppedFor(performance.now() - began - slice);
  }

  giveUp(replica: number): void {
    Atomics.store(this.#cells, at(replica, GIVEN_UP), 1);
  }

  /** How long the syncs of a replica took. */
  syncLatency(replica: number): Latencies {
    const first = replica * COUNTERS_PER_REPLICA;
    const read = (i: number): number => Number(Atomics.load(this.#counters, first + i));
    return latenciesOf(
      Array.from({ length: BUCKETS }, (_, bucket) => read(bucket)),
      read(BUCKETS),
    );
  }

  /** Worker `replica` has ended; another one is about to be started for it. */
  renew(replica: number): void {
    Atomics.store(this.#cells, at(replica, STATE), states.NONE);
    Atomics.store(this.#cells, at(replica, GIVEN_UP), 0);
  }

  /** Worker `replica`, which waits for it, takes part from here on: it has all before `tail`. */
  admit(replica: number, tail: number): void {
    Atomics.store(this.#cells, at(replica, TAIL), tail | 0);
  }

  // A worker's side.

  /** Up to where the ring must be synced; to be read BEFORE the head. */
  wanted(): number {
    return Atomics.load(this.#cells, SYNC) >>> 0;
  }

  givenUp(replica: number): boolean {
    return Atomics.load(this.#cells, at(replica, GIVEN_UP)) === 1;
  }

  /** Says how far replica `replica` holds the ring's content, and wakes the committing thread. */
  confirm(replica: number, tail: number): void {
    Atomics.store(this.#cells, at(replica, TAIL), tail | 0);
    this.ring();
  }

  /** Counts a sync of replica `replica`. */
  synced(replica: number, milliseconds: number): void {
    const microseconds = Math.floor(milliseconds * 1000);
    const first = replica * COUNTERS_PER_REPLICA;
    Atomics.add(this.#counters, first + bucketOf(microseconds), 1n);
    Atomics.add(this.#counters, first + BUCKETS, BigInt(microseconds));
  }

  setState(replica: number, state: State): void {
    Atomics.store(this.#cells, at(replica, STATE), state);
    this.ring();
  }

  /** Wakes the committing thread, for instance after a message was posted. */
  ring(): void {
    Atomics.add(this.#cells, BELL, 1);
    Atomics.notify(this.#cells, BELL);
  }

  /** The counter to read before looking, and to hand to `waitForWork`. */
  work(): number {
    return Atomics.load(this.#cells, WORK);
  }

  /** The same without blocking. */
  async whenWork(seen: number): Promise<void> {
    const { async, value } = Atomics.waitAsync(this.#cells, WORK, seen);
    if (async) await value;
  }

  /** Blocks until there is work after `seen` was read. */
  waitForWork(seen: number): void {
    Atomics.wait(this.#cells, WORK, seen);
  }
}

/**
 * Which copy the backfiller's thread is at. The committing thread has the last word: after it has
 * abandoned the other one, that begins with no further copy.
 */
export class Turn {
  readonly cell: Int32Array<SharedArrayBuffer>;

  constructor(cell = new Int32Array(new SharedArrayBuffer(4))) {
    this.cell = cell;
  }

  /** The committing thread's side: a new round begins. */
  begin(): void {
    Atomics.store(this.cell, 0, NOT_BEGUN);
  }

  /** The committing thread's side: did it begin with no copy yet in this round? */
  get isUntouched(): boolean {
    return Atomics.load(this.cell, 0) === NOT_BEGUN;
  }

  /** The thread's side: may it begin with this copy, or go on with it? */
  take(copy: number): boolean {
    const before = Atomics.load(this.cell, 0);
    return before !== ABANDONED && Atomics.compareExchange(this.cell, 0, before, copy) === before;
  }

  /** The committing thread's side: it begins with none any more, if it began with none yet in this round. */
  abandonUntouched(): boolean {
    return Atomics.compareExchange(this.cell, 0, NOT_BEGUN, ABANDONED) === NOT_BEGUN;
  }

  /** The committing thread's side: at which copy is it, and was the last? Null: it began with none. */
  abandon(): number | null {
    const at = Atomics.exchange(this.cell, 0, ABANDONED);
    return at === NOT_BEGUN ? null : at;
  }
}

const ABANDONED = -1;
const NOT_BEGUN = -2;

/** A machine that is merely busy delays a thread by less. */
function stoppedFor(overslept: number): number {
  return overslept > SLICE_MS ? overslept : 0;
}

function at(replica: number, cell: number): number {
  return PER_REPLICA + replica * CELLS_PER_REPLICA + cell;
}

/** Blocks this thread for a while: for the few places that can only ask again. */
export function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
