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
import { LockstepError } from "../errors.ts";
import { InvariantError } from "../invariant.ts";
import { frameOffset, sameSalts } from "../wal/format.ts";
import type { LogSize } from "../watch/say.ts";
import { Backfiller, type BackfillerContext } from "./backfiller.ts";
import { foldReplicas, record, unlessLost } from "./fold-copies.ts";
import { finishAmongWriters, letFold } from "./foreign-checkpoint.ts";
import { type Gate, restarted } from "./gate.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";
import type { Roster } from "./roster.ts";

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
/** Both, where others write: they go on meanwhile, and to fold blocks only us, and what is mirrored. */
const FOREIGN_REST_BYTES = 2 << 20;
const FOREIGN_GROWTH = 15;

export class Checkpointer {
  readonly #primary: Primary;
  readonly #roster: Roster;
  readonly #gate: Gate;
  readonly #backfiller: Backfiller;
  readonly #checkpointBytes: number;
  readonly #restBytes: number;
  readonly #growth: number;
  /** The size of the log at which the next checkpoint begins, in bytes. */
  #beginAt: number;
  /** Mirrors that have not yet put on record that their replica's file is being written. */
  #unrecorded: Mirror[] = [];
  /** Those whose files this round folds ahead. */
  #recorded: readonly Mirror[] = [];
  /** Is step 1 under way? */
  #ahead = false;
  /** When a checkpoint was first put off, since the last one that was not. */
  #postponedAt: number | null = null;
  #because = "";
  /** How much was folded ahead of every log, in frames. */
  #folded = 0;
  /** Before the log may begin anew, with all that it holds durable: who would rather have it stay; null: nobody. */
  beforeEnd: () => string | null = () => null;
  /** How many replicas are being brought up to date from the log and the file as they are. */
  #held = 0;

  constructor(
    primary: Primary,
    roster: Roster,
    gate: Gate,
    context: BackfillerContext & { readonly checkpointBytes: number },
  ) {
    this.#primary = primary;
    this.#roster = roster;
    this.#gate = gate;
    this.#checkpointBytes = context.checkpointBytes;
    this.#beginAt = context.checkpointBytes;
    this.#backfiller = new Backfiller(context, primary.path);
    this.#restBytes = primary.foreign ? FOREIGN_REST_BYTES : REST_BYTES;
    this.#growth = primary.foreign ? FOREIGN_GROWTH : GROWTH;
  }

  /** How large the log may get, in bytes, while nothing is in the way. */
  get logLimitBytes(): number {
    return (1 + this.#growth) * this.#checkpointBytes;
  }

  /** Who was in the way of the last try, and how long ago the first was since one was done; or null. */
  get postponed(): LogSize["postponed"] {
    if (this.#postponedAt === null) return null;
    return { because: this.#because, ms: performance.now() - this.#postponedAt };
  }

  /** The primary's log as SQLite's index was read last, if not all of it is in the file; and its limit. */
  get size(): LogSize {
    const { postponed, logLimitBytes: limitBytes } = this;
    const { frames, backfilled } = this.#primary.index;
    return { bytes: backfilled < frames ? this.#bytesUpTo(frames) : 0, limitBytes, postponed };
  }

  /** No checkpoint from now on: the log does not restart, and the file stays as it is. */
  hold(): void {
    this.#held++;
  }

  release(): void {
    this.#held--;
    // What has come since is folded ahead, as if it were due only now: all at once it would keep a commit waiting.
    const { frame } = this.#primary.position;
    if (this.#held === 0) this.#beginAt = Math.max(this.#beginAt, this.#bytesUpTo(frame));
  }

  /** The next checkpoint is due now, however small the log. */
  hasten(): void {
    this.#beginAt = 0;
  }

  /**
   * After a commit: does what can be done now. Waits only if little is left, or if the log has grown
   * to its bound.
   * @returns null if no checkpoint ended
   */
  advance(): CheckpointOutcome | null {
    if (this.#held > 0) return null;
    // Nobody has committed since the last one. To move the mark now might miss the log's restart.
    if (this.#primary.foreign && this.#primary.foldedHere()) return null;
    const logBytes = this.#bytesUpTo(this.#primary.position.frame);
    if (this.#primary.foreign)
      letFold(this.#primary, logBytes > this.#beginAt + this.#checkpointBytes);
    if (logBytes < this.#beginAt) return null;
    if (!this.#ahead && logBytes <= REST_BYTES) return this.finish();
    if (logBytes >= this.#beginAt + this.#growth * this.#checkpointBytes) return this.finish();
    if (!this.#ahead) this.#goAhead();
    else if (!this.#isAtWork()) return this.#goOn(logBytes);
    return null;
  }

  /**
   * Nobody else has committed for a while: whoever waits to fold all of the log, or for it to restart, may.
   * It keeps the others out meanwhile, as SQLite's checkpoints do but for the passive ones.
   */
  giveWay(): CheckpointOutcome | null {
    const primary = this.#primary;
    if (this.#held > 0 || this.#ahead || primary.foldedHere()) return null;
    primary.holdAtEnd();
    const { frames, backfilled } = primary.readIndex();
    if (backfilled < frames) return null;
    return this.finish();
  }

  /** Folds what is left and lets the log restart. Blocks. */
  finish(): CheckpointOutcome {
    this.#waitForAhead();
    const finish = this.#primary.foreign ? finishAmongWriters : finishAll;
    const [primary, roster, gate] = [this.#primary, this.#roster, this.#gate];
    const because = finish(primary, roster, gate, this.#backfiller, this.beforeEnd);
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
    this.#because = because;
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
    for (const mirror of this.#unrecorded) {
      unlessLost(this.#gate, mirror, () => mirror.wait("may-fold"));
    }
    this.#unrecorded = [];
    this.#unlessLost(() => this.#backfiller.wait());
  }

  /** Step 1: every read mark moves to its log's end, and every record says what is about to happen. */
  #goAhead(): void {
    this.#ahead = true;
    this.#primary.holdAtEnd();
    this.#primary.sidecar.beginFold(); // durable: a checkpoint is under way, primary, ahead
    this.#recorded = this.#roster.attached;
    this.#unrecorded = [...this.#recorded];
    for (const mirror of this.#recorded) mirror.post({ type: "begin-fold" });
  }

  /** Is something of this round still under way? */
  #isAtWork(): boolean {
    if (this.#unrecorded.length > 0) {
      const isAwaited = (mirror: Mirror): boolean =>
        this.#roster.attached.includes(mirror) &&
        unlessLost(this.#gate, mirror, () => mirror.arrived("may-fold")) === false;
      this.#unrecorded = this.#unrecorded.filter(isAwaited);
      // durable: nothing is folded ahead before it is on record
      if (this.#unrecorded.length > 0) return true;
      const replicas = this.#recorded.filter(
        (mirror) => !mirror.isStream && this.#roster.attached.includes(mirror),
      );
      // durable: no file is folded into that was put in the primary's place
      if (!this.#primary.hasItsName()) throw new Error("its file was removed or replaced");
      this.#backfiller.start([this.#primary, ...replicas]);
    }
    return this.#unlessLost(() => this.#backfiller.poll()) ?? false;
  }

  /** Asks the backfiller; null if commits go on without the replica whose failure it tells. */
  #unlessLost<T>(work: () => T): T | null {
    try {
      return work();
    } catch (error) {
      const path = error instanceof LockstepError ? error.copy : null;
      const member = this.#roster.members.find((each) => each.path === path);
      if (!member) throw error;
      if (member.mirror) this.#gate.lose(member.mirror, error as LockstepError);
      return null;
    }
  }

  /** The backfiller has ended: is so little left that it can be finished now? */
  #goOn(logBytes: number): CheckpointOutcome | null {
    const { frames } = this.#backfiller;
    const stuck = frames === this.#folded;
    this.#folded = frames;
    if (logBytes - this.#bytesUpTo(frames) <= this.#restBytes || stuck) return this.finish();
    this.#goAhead();
    return null;
  }

  #bytesUpTo(frame: number): number {
    return frameOffset(frame + 1, this.#primary.index.pageSize);
  }
}

/** @returns null, or who is in the way */
function finishAll(
  primary: Primary,
  roster: Roster,
  gate: Gate,
  backfiller: Backfiller,
  beforeEnd: () => string | null,
): string | null {
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
  const waits = beforeEnd();
  // durable: the log stays for a stream that lacks too much of it
  if (waits) return waits;

  // 3. All fold at once; another connection's newer commits or older readers leave a rest.
  let primaryFolded = false;
  const blocked = foldReplicas(primary, roster, gate, backfiller, () => {
    primaryFolded = primary.fold();
    // While the replicas fold: its file alone now holds the position.
    if (primaryFolded) record(primary, backfiller); // durable: the record before the restart
  });
  // durable: no restart before every replica is folded
  if (blocked) return blocked;
  // durable: no restart before the primary is folded
  if (!primaryFolded) return `${primary.path}: a reader is in the way`;

  // 4. The next commit may restart the log; nobody may fold that before it was seen here.
  primary.hold();
  return null;
}
