/**
 * Who may restart the log, and when: nobody, until every copy's file holds all of it.
 *
 * A small log is folded between two commits. Of a larger one most is folded ahead, by a thread, while
 * commits go on; what is left then is folded between two commits, and the log may restart:
 *
 *   1  ahead    it is put on record, beside every copy, that its file is being written; then the
 *               backfiller begins. Again, as long as much is left and the last time got further
 *   2  finish   all copies fold the rest at the same time, the read mark keeping the log from
 *               restarting; what the files hold is put on record while their logs still stand; the
 *               read mark is given up last. Only now may the next commit begin a new generation
 *
 * At any step readers may be in the way: then everything stays as it is and the log grows until the
 * next try. A log that is larger by three times `checkpointBytes` than the size at which this was due
 * is finished at once, however much is left.
 */
import { InvariantError } from "../invariant.ts";
import { frameOffset, sameSalts } from "../wal/format.ts";
import { Backfiller, type BackfillerContext } from "./backfiller.ts";
import { type Gate, restarted } from "./gate.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

export interface CheckpointOutcome {
  readonly done: boolean;
  /** If not done: who was in the way. */
  readonly because: string;
  /** If not done: how long ago the first try since the last one that was done; in milliseconds. */
  readonly sinceMs: number;
}

/** How much is folded between two commits, if it can be helped. */
const REST_BYTES = 256 << 10;
/** By how many times `checkpointBytes` the log may grow while it is folded ahead. */
const GROWTH = 3;

export class Checkpointer {
  readonly #primary: Primary;
  readonly #mirrors: readonly Mirror[];
  readonly #gate: Gate;
  readonly #backfiller: Backfiller;
  readonly #checkpointBytes: number;
  /** The size of the log at which the next checkpoint begins, in bytes. */
  #beginAt: number;
  /** Mirrors that have not yet put on record that their replica's file is being written. */
  #unrecorded: Mirror[] = [];
  /** Is step 1 under way? */
  #ahead = false;
  /** When a checkpoint was first put off, since the last one that was not. */
  #postponedAt: number | null = null;
  /** How much was folded ahead of every log, in frames. */
  #folded = 0;

  constructor(
    primary: Primary,
    mirrors: readonly Mirror[],
    gate: Gate,
    context: BackfillerContext & { readonly checkpointBytes: number },
  ) {
    this.#primary = primary;
    this.#mirrors = mirrors;
    this.#gate = gate;
    this.#checkpointBytes = context.checkpointBytes;
    this.#beginAt = context.checkpointBytes;
    this.#backfiller = new Backfiller(context, [primary.path, ...mirrors.map(({ path }) => path)]);
  }

  /**
   * After a commit: does what can be done now. Waits only if little is left, or if the log has grown
   * to its bound.
   * @returns null if no checkpoint ended
   */
  advance(): CheckpointOutcome | null {
    const logBytes = this.#bytesUpTo(this.#primary.position.frame);
    if (logBytes < this.#beginAt) return null;
    if (!this.#ahead && logBytes <= REST_BYTES) return this.finish();
    if (logBytes >= this.#beginAt + GROWTH * this.#checkpointBytes) return this.finish();
    if (!this.#ahead) this.#goAhead();
    else if (!this.#isAtWork()) return this.#goOn(logBytes);
    return null;
  }

  /** Folds what is left and lets the log restart. Blocks. */
  finish(): CheckpointOutcome {
    this.#waitForAhead();
    const because = finishAll(this.#primary, this.#mirrors, this.#gate);
    const done = because === null;
    this.#ahead = false;
    this.#folded = 0;
    if (done) {
      this.#beginAt = this.#checkpointBytes;
      this.#postponedAt = null;
      return { done, because: "", sinceMs: 0 };
    }
    this.#beginAt = this.#bytesUpTo(this.#primary.position.frame) + this.#checkpointBytes / 4;
    this.#postponedAt ??= performance.now();
    return { done, because, sinceMs: Math.round(performance.now() - this.#postponedAt) };
  }

  /**
   * Waits until nothing writes the copies' files any more, or as long as `timeout` allows. A failure
   * is told by whoever is closing already, and its log stays.
   */
  rest(): void {
    try {
      this.#waitForAhead();
    } catch (error) {
      if (error instanceof InvariantError) throw error;
    }
  }

  /** After everything else is closed. */
  close(): void {
    this.#backfiller.close();
  }

  /** Waits for what is under way. */
  #waitForAhead(): void {
    for (const mirror of this.#unrecorded) mirror.wait("may-fold");
    this.#unrecorded = [];
    this.#backfiller.wait();
  }

  /** Step 1: every read mark moves to its log's end, and every record says what is about to happen. */
  #goAhead(): void {
    this.#ahead = true;
    this.#primary.holdAtEnd();
    this.#primary.sidecar.beginFold(); // durable: a checkpoint is under way, primary, ahead
    this.#unrecorded = [...this.#mirrors];
    for (const mirror of this.#mirrors) mirror.post({ type: "begin-fold" });
  }

  /** Is something of this round still under way? */
  #isAtWork(): boolean {
    if (this.#unrecorded.length > 0) {
      this.#unrecorded = this.#unrecorded.filter((mirror) => !mirror.arrived("may-fold"));
      // durable: nothing is folded ahead before it is on record
      if (this.#unrecorded.length > 0) return true;
      this.#backfiller.start();
    }
    return this.#backfiller.poll();
  }

  /** The backfiller has ended: is so little left that it can be finished now? */
  #goOn(logBytes: number): CheckpointOutcome | null {
    const { frames } = this.#backfiller;
    const stuck = frames === this.#folded;
    this.#folded = frames;
    if (logBytes - this.#bytesUpTo(frames) <= REST_BYTES || stuck) return this.finish();
    this.#goAhead();
    return null;
  }

  #bytesUpTo(frame: number): number {
    return frameOffset(frame + 1, this.#primary.index.pageSize);
  }
}

/** @returns null, or who is in the way */
function finishAll(primary: Primary, mirrors: readonly Mirror[], gate: Gate): string | null {
  // 0. With no frames in the log there is nothing to fold.
  if (primary.readIndex().frames === 0) {
    if (!primary.foldedHere()) throw restarted(primary.path);
    return null;
  }

  // 1. Move the read mark to the end of the log; it still keeps the generation from restarting.
  primary.holdAtEnd();
  if (!sameSalts(primary.readIndex(), primary.position)) throw restarted(primary.path);

  // 2. What another connection committed since must be on the replicas as well.
  gate.pass();

  // 3. All fold at once; another connection's newer commits or older readers leave a rest.
  for (const mirror of mirrors) mirror.post({ type: "fold" });
  const primaryFolded = primary.fold();
  const reports = mirrors.map((mirror) => mirror.wait("folded"));
  const blocked = reports.findIndex((report) => !report.done);
  // durable: no restart before every replica is folded
  if (blocked >= 0) return `${mirrors[blocked]?.path}: ${reports[blocked]?.because}`;
  // durable: no restart before the primary is folded
  if (!primaryFolded) return `${primary.path}: a reader is in the way`;

  // 4. Its file alone now holds the position.
  primary.recordFolded(primary.position); // durable: the record before the restart

  // 5. The next commit may restart the log; nobody may fold that before it was seen here.
  primary.hold();
  return null;
}
