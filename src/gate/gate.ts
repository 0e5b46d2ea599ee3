/**
 * The commit gate: what happens between a statement's return inside SQLite and its return to the
 * application. One straight line, in `#replicate`.
 *
 * Invariants:
 *   - `primary.position` is what every replica has confirmed as synced;
 *   - a commit is seen by reading SQLite's wal-index, never inferred from the statement;
 *   - frames are taken by the committing thread, before anything else can happen to the log;
 *   - while the gate is open a read mark keeps the log's generation from restarting unseen.
 */
import { codes, LockstepError } from "../errors.ts";
import { InvariantError } from "../invariant.ts";
import type { Position } from "../lineage/position.ts";
import { frameOffset, frameSize, sameSalts, sameSums, WAL_HEADER_SIZE } from "../wal/format.ts";
import type { SharedIndex } from "../wal/shared-index.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";
import { RingWriter } from "./ring.ts";
import type { SharedMemory, Slots } from "./slots.ts";

export class Gate {
  readonly #primary: Primary;
  readonly #mirrors: readonly Mirror[];
  readonly #slots: Slots;
  readonly #ring: RingWriter;
  /** In milliseconds. */
  readonly #timeout: number;

  constructor(
    primary: Primary,
    mirrors: readonly Mirror[],
    { memory, slots, timeout }: { memory: SharedMemory; slots: Slots; timeout: number },
  ) {
    this.#primary = primary;
    this.#mirrors = mirrors;
    this.#slots = slots;
    this.#ring = new RingWriter(memory.ring);
    this.#timeout = timeout;
  }

  /** True once everything committed is durable everywhere; false if there was nothing new. */
  pass(): boolean {
    if (!this.#primary.hasNews()) return false;
    this.#replicate(this.#primary.position.frame);
    return true;
  }

  /** At the start: sends what replicas lack, from frame `from` on, and makes all of it durable. */
  catchUp(from: number): void {
    if (this.#primary.readIndex().frames > from) this.#replicate(from);
    this.#primary.syncLog();
  }

  /** @param after the frame after which to send, in the present generation */
  #replicate(after: number): void {
    const primary = this.#primary;

    // 1. How far does the log reach, and is it still the generation that the replicas hold?
    const log = primary.readIndex();
    const fresh = !sameSalts(log, primary.position);
    // durable: what was written unseen is noticed
    if (fresh && !primary.foldedHere()) throw restarted(primary.path);
    // durable: what was overwritten is noticed
    if (!fresh && !continues(log, primary.position)) throw restarted(primary.path);
    const base = primary.position;

    // 2. Hand the new frames to every mirror; each starts to write at once.
    this.#send(log, fresh ? 0 : after);

    // 3. Meanwhile sync the primary's own log, and put a new generation on record.
    primary.syncLog(); // durable: the primary has the commit
    const { salt1, salt2, sum1, sum2, frames } = log;
    if (fresh) {
      // durable: the primary's generation is on record
      primary.sidecar.update({ generation: { salt1, salt2, base } }, { history: [base] });
    }

    // 4. Wait until every replica has synced.
    this.#await(() => this.#confirmed()); // durable: the replicas have the commit

    // 5. That is the new position of all copies.
    primary.position = { timeline: base.timeline, salt1, salt2, frame: frames, sum1, sum2 };

    // 6. Keep the generation from restarting before it is folded.
    if (fresh || !primary.held) primary.hold(); // durable: the log cannot restart unseen
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
      this.#await(() => this.#ring.free(this.#slowestTail()) >= this.#ring.needs(bytes));
      const window = this.#ring.reserve(bytes);
      this.#primary.readLog(window.bytes, window.at, bytes, offset);
      const ends = first + frames - 1 === last;
      this.#ring.commit(window, { first, frames, pageSize, salt1, salt2, sum1, sum2, ends });
      this.#slots.publish(this.#ring.head);
      first += frames;
    }
  }

  #confirmed(): boolean {
    const { head } = this.#ring;
    return this.#mirrors.every((mirror) => this.#slots.tail(mirror.index) === head);
  }

  #slowestTail(): number {
    let slowest = this.#ring.head;
    for (const { index } of this.#mirrors) {
      const tail = this.#slots.tail(index);
      if ((this.#ring.head - tail) >>> 0 > (this.#ring.head - slowest) >>> 0) slowest = tail;
    }
    return slowest;
  }

  /**
   * Blocks until `done`, a mirror's failure, or until the slowest mirror has not moved for
   * `timeout`. The order of reads is slots.ts's.
   */
  #await(done: () => boolean): void {
    let tail = this.#slowestTail();
    let deadline = performance.now() + this.#timeout;
    for (;;) {
      const seen = this.#slots.bell();
      if (done()) return;
      if (tail !== this.#slowestTail()) {
        tail = this.#slowestTail();
        deadline = performance.now() + this.#timeout;
      }
      for (const mirror of this.#mirrors) {
        const failure = mirror.poll();
        if (failure) throw failure;
      }
      const left = deadline - performance.now();
      if (left <= 0) throw this.#slowestMirror().timedOut();
      this.#slots.waitForBell(seen, left);
    }
  }

  #slowestMirror(): Mirror {
    const { head } = this.#ring;
    const late = this.#mirrors.find((mirror) => this.#slots.tail(mirror.index) !== head);
    return (late ?? this.#mirrors[0]) as Mirror;
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
  const cause = error as NodeJS.ErrnoException;
  return new LockstepError(codes.PRIMARY_IO, {
    copy,
    what: `The primary, or its log, could not be read, written or synced: ${cause.message}`,
    state: "Whether the last transaction is on stable storage in every copy is unknown",
    next: "Check the primary's disk, then reopen: the start brings the copies together",
    cause,
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
