/**
 * The deputy: a process (deputy-process.ts) that holds a read mark of its own on a primary that other programs
 * write. While this process lives its guard does the work; when it is killed the deputy's mark is left for a
 * while. So the log neither begins anew nor is folded beyond what is on record, and the next start finds the
 * generation that it knows.
 *
 * Invariants:
 *   - it moves after the guard, never before, and by the same rule (`Wish`): each of the two alone keeps the log at
 *     every instant, whatever the other does;
 *   - it is waited for only where it is in the way of a fold or of the log's next generation, for `PATIENCE_MS`:
 *     one that is stopped, slow or dead is killed, and replaced later.
 */
import { setTimeout as delay } from "node:timers/promises";
import { InvariantError } from "../invariant.ts";
import { isAlive } from "../lineage/alive.ts";
import type { Sidecar } from "../lineage/sidecar.ts";
import type { SharedIndex } from "../wal/shared-index.ts";
import { DeputyChild, type Wish } from "./deputy-child.ts";
import { pause } from "./slots.ts";

/** How long it is waited for, and how long it may take when nobody waits, in milliseconds. */
const PATIENCE_MS = 50;
const LATE_MS = 1000;
/** How often its answer is looked for, in milliseconds. */
const ASK_MS = 0.05;
/** After how long it is replaced, in milliseconds: doubled each time, until one holds. */
const REPLACE_MS = 1000;
const REPLACE_MOST_MS = 60_000;
/** How long it may take to let go, and a predecessor, in milliseconds. */
const END_MS = 200;

export class Deputy {
  /** Its pid while it holds a mark; else null. */
  pid: number | null = null;
  readonly #primary: string;
  readonly #holdMs: number;
  #record: Sidecar | null = null;
  /** A predecessor, which may still hold the log for a follower that was killed. */
  #before: number | null = null;
  /** Is the predecessor not needed any more? */
  #hasTakenOver = false;
  #child: DeputyChild | null = null;
  /** Wishes are numbered; the answer to each is waited for before the next. */
  #sent = 0;
  #answered = 0;
  #sentAt = 0;
  #wish: Wish | null = null;
  /** Was it told the present wish? And does it hold where that says? */
  #isTold = false;
  #isThere = false;
  #startAt = 0;
  #replaceMs = REPLACE_MS;

  /**
   * @param primary its real path
   * @param holdMs for how long a log is kept whose follower was killed, in milliseconds; 0: there is no deputy
   */
  constructor(primary: string, holdMs: number) {
    this.#primary = primary;
    this.#holdMs = holdMs;
  }

  /** Starts it: it takes a moment, and does nothing before the guard holds. */
  begin(): void {
    if (this.#holdMs > 0 && !this.#child) this.#start();
  }

  /** Whoever holds the primary, and its record. */
  serve(record: Sidecar): void {
    this.#record = record;
    this.#hasTakenOver = false;
    const { deputy } = record.state;
    this.#before = typeof deputy === "string" ? Number.parseInt(deputy, 10) : null;
  }

  /** The guard has moved to the log's end, where not all was folded. */
  toEnd({ salt1, salt2, frames }: SharedIndex): void {
    this.#want({ at: "end", salt1, salt2, frames });
  }

  /**
   * The guard has moved where all was folded, and is at mark 0 unless somebody has committed meanwhile.
   * @param recorded the frame up to which it is on record what the file holds
   */
  toZero({ salt1, salt2, frames, backfilled }: SharedIndex, recorded: number): void {
    if (backfilled < frames || (frames > 0 && frames !== recorded)) return;
    this.#want({ at: "zero", salt1, salt2, frames });
    this.settle(); // until it is there the log does not begin anew
  }

  /** Blocks until it is where the guard is, so that it is not in the way; not for long. */
  settle(): void {
    if (this.pid === null) return; // it holds nothing yet
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      this.#hear();
      this.#tell();
      if (!this.#isUnderWay) return;
      if (performance.now() <= deadline) pause(ASK_MS);
      else this.#replace();
    }
  }

  /** Now and then: starts it, replaces it, and asks it again for what it could not do. */
  tend(): void {
    if (this.#holdMs === 0) return;
    if (!this.#child && performance.now() >= this.#startAt) this.#start();
    this.#hear();
    if (this.#isUnderWay && performance.now() > this.#sentAt + LATE_MS) this.#replace();
    if (!this.#isUnderWay && !this.#isThere) this.#isTold = false;
    this.#tell();
    this.#putOnRecord();
  }

  /** Does a predecessor let go because of this one, which alone holds the log for the next start? */
  get hasRelieved(): boolean {
    return this.#before !== null && this.#isOnRecord;
  }

  /**
   * Resolves when it holds its mark, or does not within so many milliseconds; and a predecessor's is gone. The guard
   * holds one: so nobody needs the predecessor's.
   */
  async takeOver(patience: number): Promise<void> {
    const deadline = performance.now() + patience;
    while (this.#holdMs > 0 && this.pid === null && performance.now() < deadline) {
      await delay(1);
      this.tend();
    }
    this.#hasTakenOver = true;
    this.#putOnRecord();
    const before = this.#before;
    if (before === null) return;
    const end = performance.now() + END_MS;
    while (isAlive(before) && performance.now() < end) await delay(1);
  }

  /** Nothing is held yet, nor will be. */
  cancel(): void {
    this.#startAt = Number.POSITIVE_INFINITY;
    this.#child?.kill();
    this.#forget();
  }

  /** Resolves when it has let go: it is not needed any more. */
  async end(): Promise<void> {
    this.#startAt = Number.POSITIVE_INFINITY;
    const mayRelieve = this.#hasTakenOver || this.#isOnRecord;
    const child = this.#child;
    if (child) {
      child.say({ end: true });
      if (!(await child.ended(END_MS))) child.kill();
      await child.ended(END_MS);
      this.#forget();
    }
    this.#hasTakenOver = mayRelieve;
    this.#putOnRecord();
  }

  /** Nothing is followed any more, because of a failure: it goes on holding, as after a kill. */
  abandon(): void {
    this.#startAt = Number.POSITIVE_INFINITY;
    this.#forget();
  }

  get #isUnderWay(): boolean {
    return this.#answered < this.#sent;
  }

  #want(wish: Wish): void {
    this.#wish = wish;
    this.#isTold = this.#isThere = false;
    this.#hear();
    this.#tell();
  }

  /** Tells it what is wanted, if it was not and has answered what it was told before. */
  #tell(): void {
    if (!this.#child || !this.#wish || this.#isTold || this.#isUnderWay) return;
    this.#isTold = true;
    this.#sentAt = performance.now();
    this.#child.say({ ...this.#wish, n: ++this.#sent });
  }

  #hear(): void {
    if (!this.#child || !this.#isUnderWay) return;
    const answer = this.#child.answer();
    if (answer >> 1 !== this.#sent) return;
    this.#answered = this.#sent;
    if ((answer & 1) === 0) return;
    this.#isThere = this.#isTold;
    this.pid = this.#child.pid;
    this.#replaceMs = REPLACE_MS;
  }

  #start(): void {
    this.#putOff();
    try {
      const child = new DeputyChild({ primary: this.#primary, holdMs: this.#holdMs });
      this.#child = child;
      void child.ended().then(() => this.#child === child && this.#forget());
    } catch {} // later, perhaps
  }

  /** One that is not in time is in the way. */
  #replace(): void {
    this.#putOff();
    this.#child?.kill();
    this.#forget();
  }

  #putOff(): void {
    this.#startAt = performance.now() + this.#replaceMs;
    this.#replaceMs = Math.min(2 * this.#replaceMs, REPLACE_MOST_MS);
  }

  #forget(): void {
    this.#child?.leave();
    this.#child = null;
    this.pid = null;
    this.#sent = this.#answered = 0;
    this.#isTold = this.#isThere = false;
  }

  get #name(): string | null {
    return this.pid === null ? null : (this.#child?.name ?? null);
  }

  get #isOnRecord(): boolean {
    return this.#name !== null && this.#record?.state.deputy === this.#name;
  }

  /** So a predecessor is relieved: not before this one holds, or the guard does and there is none. */
  #putOnRecord(): void {
    const [record, deputy] = [this.#record, this.#name];
    if (!record || (record.state.deputy ?? null) === deputy) return;
    if (deputy === null && !this.#hasTakenOver) return;
    try {
      record.update({ deputy });
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      // What cannot be written just now is tried again; without it no more is lost than without a deputy.
    }
  }
}

/** A start: whoever may still hold the log for a follower that was killed is in its way, or will be relieved. */
export function relieve(record: Sidecar, deputy: Deputy | undefined): void {
  if (deputy) deputy.serve(record);
  else if (record.state.deputy != null) record.update({ deputy: null });
}
