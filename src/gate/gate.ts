/**
 * The commit gate: what happens between a statement's return inside SQLite and its return to the
 * application. With durability `commit` one straight line, `#take` and then `settle`. With `barrier` a
 * statement returns after `note`, which calls `#take` once a batch is full; barrier.ts then settles
 * for many at once.
 *
 * Invariants:
 *   - `primary.position` is what was handed to every mirror, and `durable` what is known to be on
 *     stable storage in every copy; with durability `commit` they differ only within `pass`;
 *   - a commit is seen by reading SQLite's wal-index, never inferred from the statement;
 *   - frames are taken by the committing thread; until they are, and until they are folded, a read
 *     mark keeps them in the log: its generation cannot restart unseen.
 */
import { codes, LockstepError } from "../errors.ts";
import { InvariantError } from "../invariant.ts";
import { walPath } from "../lineage/describe.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import { replicaFailure } from "../mirror/failure.ts";
import { frameOffset, frameSize, sameSalts, sameSums, WAL_HEADER_SIZE } from "../wal/format.ts";
import type { SharedIndex } from "../wal/shared-index.ts";
import { Meter } from "./meter.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";
import { RingWriter } from "./ring.ts";
import type { Roster } from "./roster.ts";
import type { SharedMemory, Slots } from "./slots.ts";
import { assertSummed } from "./unsummed.ts";

/** How much is handed over at once although its transaction has not ended; it is synced meanwhile. */
const PUBLISH_BYTES = 512 << 10;
/** With durability `barrier`: how much is noted before it is handed over, be it waited for or not. */
const BATCH_BYTES = 128 << 10;

export interface Mark {
  readonly taken: number;
  readonly position: Position;
}

export class Gate {
  /** What every copy holds on stable storage, as far as is known. */
  durable: Position;
  /** Is something committed and not handed over yet? */
  noted = false;
  /** How often a commit waited for room in the ring. */
  waits = 0;
  readonly meter: Meter;
  readonly #primary: Primary;
  readonly #roster: Roster;
  readonly #slots: Slots;
  readonly #ring: RingWriter;
  /** In milliseconds. */
  readonly #timeout: number;
  /** How often frames were taken; what was taken first is durable first. */
  #taken = 0;
  #durableTaken = 0;
  /** Up to where in the ring a sync was asked for. */
  #requested = 0;
  /** The bell at which the mirrors were last asked for failures. */
  #heard = 0;

  constructor(
    primary: Primary,
    roster: Roster,
    { memory, slots, timeout }: { memory: SharedMemory; slots: Slots; timeout: number },
  ) {
    this.#primary = primary;
    this.durable = primary.position;
    this.meter = new Meter(primary.path);
    this.#roster = roster;
    this.#slots = slots;
    this.#ring = new RingWriter(memory.ring);
    this.#timeout = timeout;
  }

  /** True once everything committed is durable everywhere; false if there was nothing new. */
  pass(): boolean {
    const news = this.handOver();
    if (news || !this.settled) this.settle();
    return news;
  }

  /** Hands over what was committed since the last time, to be made durable; false if nothing was. */
  handOver(): boolean {
    if (!this.#primary.hasNews()) return false;
    this.#take(this.#primary.position.frame);
    return true;
  }

  /**
   * Notes what was committed, and hands it over once it is worth the copying: many small commits go
   * together. Until then the read mark keeps their frames where they are.
   * @returns is something committed that is not durable everywhere yet?
   */
  note(): boolean {
    const primary = this.#primary;
    if (primary.hasNews()) {
      const { frames, pageSize } = primary.index;
      const bytes = (frames - primary.position.frame) * frameSize(pageSize);
      const isFresh = !sameSalts(primary.index, primary.position);
      if (isFresh || bytes >= BATCH_BYTES) this.#take(primary.position.frame);
      else this.noted = true;
      this.meter.oldest ||= performance.now();
      this.pollFailures();
    }
    return !this.settled;
  }

  /** Is everything that was committed, as far as it was noted, durable everywhere? */
  get settled(): boolean {
    return !this.noted && this.#durableTaken === this.#taken;
  }

  /** What was handed over up to now; for `becameDurable`. */
  get mark(): Mark {
    return { taken: this.#taken, position: this.#primary.position };
  }

  /** Every copy has synced what was handed over up to this mark, which was made at `marked`. */
  becameDurable({ taken, position }: Mark, marked: number): void {
    if (taken < this.#durableTaken) return;
    this.#durableTaken = taken;
    this.durable = position;
    this.meter.oldest = this.settled ? 0 : marked;
    this.meter.synced(position, marked);
  }

  /** At the start: sends what replicas lack, from frame `from` on, and makes all of it durable. */
  catchUp(from: number): void {
    if (this.#primary.readIndex().frames > from) this.#take(from);
    this.settle();
  }

  /** @param after the frame after which to send, in the present generation */
  #take(after: number): void {
    const primary = this.#primary;

    // 1. How far does the log reach, and is it still the generation that the replicas hold?
    const log = primary.index; // as it was just read
    const base = primary.position;
    const fresh = !sameSalts(log, base);
    // durable: what was written unseen is noticed
    if (fresh && !primary.foldedHere()) throw restarted(primary.path);
    // durable: what was overwritten is noticed
    if (!fresh && !continues(log, base)) throw restarted(primary.path);
    const { salt1, salt2, sum1, sum2, frames } = log;

    // 2. Hand the new frames to every mirror.
    const from = fresh ? 0 : after;
    this.#send(log, from);
    this.meter.took(log.change, (frames - from) * frameSize(log.pageSize));
    this.noted = false;
    this.#taken++;
    primary.position = { timeline: base.timeline, salt1, salt2, frame: frames, sum1, sum2 };

    // 3. Put a new generation on record.
    if (fresh) {
      this.#publish(false); // the mirrors do the same meanwhile
      // durable: the primary's generation is on record
      primary.sidecar.amend({ generation: { salt1, salt2, base } }, [base]);
    }
    // Until now the guard held read mark 0, which keeps everybody from folding; or, in a start, none.
    // Among others that write it is held already, without a gap.
    const isHeld = primary.held && (!fresh || primary.foreign);
    if (!isHeld) primary.hold();
    this.pollFailures();
  }

  /**
   * Blocks until everything that was handed over is durable in every copy.
   * @param patience fails only this call, not the copies; in milliseconds
   * @returns false if the patience ended first
   */
  settle(patience = Number.POSITIVE_INFINITY): boolean {
    const { mark } = this;
    const marked = performance.now();

    // 4. Let the mirrors sync; meanwhile sync the primary's own log.
    const head = this.requestSync();
    this.#primary.syncLog(); // durable: the primary has the commit

    // 5. Wait until every replica has synced. That is the new position of all copies.
    // durable: the replicas have the commit
    if (!this.#await(() => this.isConfirmed(head), patience)) return false;
    this.becameDurable(mark, marked);
    return true;
  }

  /** Has the mirrors sync what was handed over; returns where the ring ends now. */
  requestSync(): number {
    this.#publish(true);
    this.#requested = this.#ring.head;
    return this.#requested;
  }

  /** Is so much handed over, and its sync not asked for, that it is worth one of its own? */
  get hasBatch(): boolean {
    return this.#ring.head - this.#requested >= BATCH_BYTES;
  }

  /** Has every replica that is waited for synced the ring's content up to `head`? */
  isConfirmed(head: number): boolean {
    for (const { index } of this.#roster.attached) {
      if (!this.hasConfirmed(index, head)) return false;
    }
    return true;
  }

  hasConfirmed(index: number, head: number): boolean {
    const end = this.#ring.head;
    const behind = (end - this.#slots.tail(index)) >>> 0; // tails wrap, the ring's head does not
    return end - behind >= head;
  }

  /** @throws LockstepError what a mirror has failed with, if commits do not go on without it */
  pollMirrors(): void {
    for (const mirror of this.#roster.attached) {
      const failure = mirror.poll();
      if (failure) this.lose(mirror, failure);
    }
  }

  /**
   * The mirror that is the furthest behind has not moved for too long.
   * @throws LockstepError its failure, if commits do not go on without it
   */
  timeOut(): void {
    const mirror = this.#slowestMirror();
    if (mirror) this.lose(mirror, mirror.timedOut());
  }

  /** Commits go on without a mirror. @throws LockstepError its failure, if they do not */
  lose(mirror: Mirror, failure: LockstepError): void {
    this.#roster.lose(mirror, failure, this.durable);
  }

  /**
   * A replica that was brought up to `held`, in the present generation or at its base, is waited for
   * again: what it still lacks goes through the ring, where the others have it already.
   */
  admit(index: number, mirror: Mirror, held: Position): void {
    this.handOver();
    this.#publish(false); // nobody may begin behind what is published
    const tail = this.#ring.head;
    this.#slots.admit(index, tail); // before it is told, and before anybody waits for it
    mirror.post({ type: "join", tail: tail >>> 0 });
    this.#roster.join(index, mirror, held); // from now on the ring keeps what it needs
    const { index: log, position } = this.#primary;
    if (!samePosition(held, position)) this.#send(log, sameSalts(held, log) ? held.frame : 0);
    this.#roster.sent(mirror, this.requestSync());
  }

  /** How full the ring is, as the slowest mirror leaves it. */
  get ring(): { readonly ringBytes: number; readonly ringLimitBytes: number } {
    const ringLimitBytes = this.#ring.size;
    return { ringBytes: ringLimitBytes - this.#ring.free(this.slowestTail), ringLimitBytes };
  }

  /** Where the slowest mirror is. */
  get slowestTail(): number {
    const slowest = this.#slowestMirror();
    return slowest ? this.#slots.tail(slowest.index) : this.#ring.head >>> 0;
  }

  /** Copies frames `after + 1` to the log's end into the ring, in pieces if they are many. */
  #send(log: SharedIndex, after: number): void {
    const { pageSize, frames: last, salt1, salt2, sum1, sum2 } = log;
    const size = frameSize(pageSize);
    const perPiece = Math.floor((this.#ring.maxPayload - WAL_HEADER_SIZE) / size);
    for (let first = after + 1; first <= last; ) {
      const frames = Math.min(perPiece, last - first + 1);
      const offset = first === 1 ? 0 : frameOffset(first, pageSize);
      const bytes = frameOffset(first + frames, pageSize) - offset;
      if (!this.#hasRoom(bytes)) {
        this.waits++;
        this.#publish(true);
        this.#await(() => this.#hasRoom(bytes));
      }
      const window = this.#ring.reserve(bytes);
      this.#primary.readLog(window.bytes, window.at, bytes, offset);
      // durable: what a crash loses is not acknowledged, also where no mirror is left that verifies it
      assertSummed(window.bytes, window.at + bytes - frames * size, frames, size);
      const ends = first + frames - 1 === last;
      this.#ring.commit(window, { first, frames, pageSize, salt1, salt2, sum1, sum2, ends });
      if (this.#ring.unpublished >= PUBLISH_BYTES) this.#publish(true);
      first += frames;
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#ring.free(this.slowestTail) >= this.#ring.needs(bytes);
  }

  /** Shows the workers what is in the ring. */
  #publish(sync: boolean): void {
    this.#slots.publish(this.#ring.publish(), sync);
  }

  /** Nobody may be waiting: a failure is noticed with the next commit. */
  pollFailures(): void {
    const bell = this.#slots.bell();
    if (bell === this.#heard) return;
    this.#heard = bell;
    this.pollMirrors();
  }

  /**
   * Blocks until `done`, a mirror's failure, or until the slowest mirror has not moved for
   * `timeout`. The order of reads is slots.ts's.
   * @returns false if `patience` ended first, in milliseconds
   */
  #await(done: () => boolean, patience = Number.POSITIVE_INFINITY): boolean {
    if (done()) return true;
    const began = performance.now();
    const end = began + patience;
    let tail = this.slowestTail;
    let deadline = began + this.#timeout;
    for (;;) {
      const seen = this.#slots.bell();
      if (done()) return true;
      if (tail !== this.slowestTail) {
        tail = this.slowestTail;
        deadline = performance.now() + this.#timeout;
      }
      this.pollMirrors();
      const now = performance.now();
      if (now >= deadline) {
        this.timeOut();
        deadline = now + this.#timeout; // of those that are left
      }
      if (now >= end) return false;
      deadline += this.#slots.waitForBell(seen, Math.min(deadline, end) - now);
    }
  }

  /** The one that is the furthest behind; null if none is attached. */
  #slowestMirror(): Mirror | null {
    const { head } = this.#ring;
    let slowest: Mirror | null = null;
    let behind = -1;
    for (const mirror of this.#roster.attached) {
      const distance = (head - this.#slots.tail(mirror.index)) >>> 0;
      if (distance > behind) [slowest, behind] = [mirror, distance];
    }
    return slowest;
  }
}

/** Of one generation: does the log hold more than the position, or just that? */
function continues(log: SharedIndex, position: Position): boolean {
  if (log.frames === position.frame) return sameSums(log, position);
  return log.frames > position.frame;
}

/** Whatever was thrown on the commit path, as the error that fences the connection. */
export function gateFailure(copy: string, error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  if (error instanceof InvariantError) throw error; // ours: nobody goes on from here
  const cause = error as NodeJS.ErrnoException & { file?: string };
  const { file } = cause;
  // The start reads a replica's log when it rolls the primary forward.
  if (file?.endsWith("-wal") && file !== walPath(copy)) {
    return replicaFailure(file.slice(0, -"-wal".length), cause);
  }
  return new LockstepError(codes.PRIMARY_IO, {
    copy,
    what: `The primary, or its log, could not be read, written or synced: ${cause.message}`,
    state: "Whether the last transaction is on stable storage in every copy is unknown",
    next: "Check the primary's disk, then reopen: the start brings the copies together",
    cause,
  });
}

/** The same of a defect of ours; what threw it goes on to stop the process. */
export function defect(copy: string, error: InvariantError): LockstepError {
  return new LockstepError(codes.WORKER_DIED, {
    copy,
    what: error.message,
    state: "Whether the last transaction is on every copy is unknown",
    next: "This is a defect of Lockstep: report it; reopen to bring the copies together",
    cause: error,
  });
}

/** The log is not the one that was left: what was committed in between was not seen. */
export function restarted(copy: string): LockstepError {
  return new LockstepError(codes.PRIMARY_CHANGED, {
    copy,
    what: "The primary's log was folded and begun anew by another program, or it was cut short",
    state:
      "Every replica holds every acknowledged transaction; the primary may hold others besides",
    next: "Close that program; lockstep verify PRIMARY REPLICA shows the difference; then choose with lockstep sync --from",
  });
}
