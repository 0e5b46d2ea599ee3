/**
 * The way back of one replica that commits went on without. Nothing here waits: `advance` does what can
 * be done by now, after commits and now and then.
 *
 *   1  leave     the thread that served the replica lets go of it, however long that takes
 *   2  look      after a while a new thread locks the replica and says what it is; the start's table
 *                decides (lineage/decide.ts), and what it refuses stays out
 *   3  prepare   if frames are not enough: at a moment when the primary's file holds all, checkpoints
 *                wait, and the replica is copied, or made equal by a delta, to just that
 *   4  follow    the replica takes from the primary's log what it lacks, a piece at a time, until it is close
 *                behind
 *   5  join      the rest goes through the ring, and commits wait for it; it counts again, and its mark is
 *                taken off the record, when it has confirmed that
 *
 * From step 3 on, or 4 if that is skipped, checkpoints wait: the log does not restart, and grows by what
 * is committed meanwhile. Whatever fails on the way begins it anew, after a longer while each time. Steps 3
 * and 4 leave the replica at one of the positions that they lead from and to, which is on the primary's
 * record before: so the next try, or the next start, can prove it older.
 *
 * An asynchronous stream begins with step 2 at every start, and has no step 5: it goes along (trail.ts) as
 * long as the primary is open. Before the log may begin anew what it lacks is handed over, or it is let go, and where
 * it may stand is on record (lineage/left-at.ts).
 */
import { codes, type LockstepError } from "../errors.ts";
import { invariant } from "../invariant.ts";
import { type Decision, decide } from "../lineage/decide.ts";
import { type Copy, walPath } from "../lineage/describe.ts";
import type { Fingerprint } from "../lineage/fingerprint.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import { refusal } from "../lineage/refusal.ts";
import type { SidecarState } from "../lineage/sidecar.ts";
import { frameSize, sameSalts } from "../wal/format.ts";
import { Along, type AlongContext } from "./along.ts";
import type { Checkpointer } from "./checkpoint.ts";
import { type Gate, gateFailure } from "./gate.ts";
import { firstCommit, glance } from "./live-log.ts";
import { membershipOf } from "./membership.ts";
import type { Membership, Report } from "./messages.ts";
import { Mirror, type MirrorContext } from "./mirror.ts";
import { assertMounted, rememberDisks } from "./mounted.ts";
import type { Primary } from "./primary.ts";
import type { Member, Roster } from "./roster.ts";
import { assertNotRewound, forgetEmptied } from "./streams.ts";
import { tooSlow } from "./trail.ts";

/** How long after a failure it is tried again, in milliseconds: doubled each time, up to the longest. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** How much may be left for the ring, where the commits of others wait for it. */
const CLOSE_BYTES = 1 << 20;
/** How much is followed at once; a transaction that is larger is followed whole. */
const FOLLOW_BYTES = 8 << 20;
/** After so many steps that brought it no closer it joins as it is: then commits do wait. */
const PATIENCE = 20;

export interface RejoinContext extends Omit<MirrorContext, "primary"> {
  readonly primary: Primary;
  readonly gate: Gate;
  readonly roster: Roster;
  readonly checkpointer: Checkpointer;
}

type Way = RejoinContext & AlongContext;

export class Rejoin {
  readonly #context: Way;
  readonly path: string;
  readonly #index: number;
  /** The thread that has the replica, or may still have it. */
  #mirror: Mirror | null;
  /** What can be done next; false if it is not time yet. */
  #step: () => boolean = this.#leave;
  #pauseMs = FIRST_PAUSE_MS;
  #pauseUntil = performance.now() + FIRST_PAUSE_MS;
  /** When the thread last said something. */
  #heardAt = 0;
  #holds = false;
  /** What the replica holds, or is being brought to: after a failure one of the last two. */
  #at: Position | null = null;
  /** The least that it lacked, in frames, and how many steps ago. */
  #least = { frames: Number.POSITIVE_INFINITY, steps: 0 };
  /** When a checkpoint was last asked for. */
  #hastenedAt = 0;
  #hasJoined = false;
  /** Of an asynchronous stream. */
  readonly along: Along | null;
  /** Is it given all that there is room for? */
  #isUrgent = false;

  /** @param mirror the thread that failed; null: there was none */
  constructor(context: Way, { path, index, asynchronous }: Member, mirror: Mirror | null) {
    this.#context = context;
    this.path = path;
    this.#index = index;
    this.#mirror = mirror;
    this.along = asynchronous ? new Along(context, path) : null;
    // The start has left it to this.
    if ((context.primary.foreign && !mirror) || asynchronous) this.#pauseUntil = 0;
  }

  /**
   * Does what can be done by now. True once the replica has joined.
   * @throws LockstepError FENCED: the replica was promoted, and this primary is one no more; and what
   *   concerns commits when it joins
   */
  advance(): boolean {
    try {
      while (!this.#hasJoined && this.#step()) {}
    } catch (error) {
      const failure = gateFailure(this.path, error);
      if (this.#hasJoined || failure.code === codes.FENCED) throw failure;
      this.#fail(failure);
    }
    return this.#hasJoined;
  }

  /** An asynchronous stream that goes along is given all that there is room for. @throws as `advance` */
  hurry(): void {
    if (!this.along?.isBegun || this.along.isSent) return;
    this.#isUrgent = true;
    this.advance();
    this.#isUrgent = false;
  }

  /** The log may begin anew. @param isStopped nothing is sent any more anyway */
  leave(isStopped: boolean): void {
    const { along } = this;
    if (along?.isBegun && !along.isSent && !isStopped)
      this.#fail(tooSlow(this.path, "the log was kept for it no longer"));
    along?.leave();
  }

  /** Gives up. The replica stays out, and is let go of as soon as its thread can. */
  stop(): void {
    this.#release();
    this.#mirror?.dismiss("closed");
  }

  /** Waits until it is let go of, so many milliseconds at most: it was done without before. */
  close(patience: number): void {
    this.#mirror?.waitUntilGone(patience);
  }

  #fail(failure: LockstepError): void {
    this.along?.fail();
    this.#context.roster.note(this.#index, failure);
    this.#release();
    this.#mirror?.dismiss(`failed: ${failure.code}`);
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    this.#pauseUntil = performance.now() + this.#pauseMs;
    this.#step = this.#leave;
  }

  #leave(): boolean {
    if (this.#mirror && !this.#mirror.hasLetGo) return false;
    this.#mirror = null;
    if (performance.now() < this.#pauseUntil) return false;
    if (this.along) this.along.isDown = false;
    this.#context.slots.renew(this.#index);
    this.#mirror = new Mirror(this.#mirrorContext, this.path, this.#index, null);
    this.#heardAt = performance.now();
    this.#step = this.#look;
    return true;
  }

  #look(): boolean {
    if (!this.#hasReported("described")) return false;
    const { action } = this.#decide();
    forgetEmptied(this.#context.primary, [this.#mirror as Mirror]);
    if (this.#replica.position) this.along?.mayBe(this.#replica.position);
    if (action.do === "copy" || action.do === "delta") {
      if (this.along) this.along.isServed = false; // it needs a checkpoint
      this.#step = () => this.#prepare(action.do);
    } else {
      if (!this.along) this.#hold();
      this.#at = this.#replica.position;
      this.#step = this.#install;
    }
    return true;
  }

  /** How does it stand to the primary? @throws LockstepError what the table refuses */
  #decide(): Decision {
    const { primary } = this.#context;
    const copy = glance(primary, this.#replica);
    assertMounted(primary, copy, [this.#mirror as Mirror]);
    assertNotRewound(primary, [this.#mirror as Mirror]);
    const decision = decide(copy, this.#replica);
    switch (decision.action.do) {
      case "nothing":
      case "copy":
      case "delta":
        return decision;
      case "send": {
        // A log whose file holds all may begin anew at any moment: then the file is what is taken.
        const isBehind = !samePosition(this.#replica.position as Position, primary.position);
        if (copy.log || !isBehind) return decision;
        return { ...decision, action: { do: "delta" } };
      }
      case "compare":
        throw refusal(copy, this.#replica, { ...decision, relation: decision.action.otherwise });
      case "refuse":
        throw refusal(copy, this.#replica, decision);
      default: // what a start would prove by reading everything
        throw refusal(copy, this.#replica, { ...decision, relation: "diverged" });
    }
  }

  #prepare(how: "copy" | "delta"): boolean {
    const { primary, checkpointer } = this.#context;
    if (!primary.foldedHere()) {
      // Again now and then: a reader may have been in its way.
      if (performance.now() - this.#hastenedAt < FIRST_PAUSE_MS) return false;
      this.#hastenedAt = performance.now();
      checkpointer.hasten();
      return false;
    }
    this.#hold();
    this.#bring(primary.position);
    const { file, sums } = primary.sidecar.state.folded as NonNullable<SidecarState["folded"]>;
    const membership = this.#membership(file);
    this.#post({ type: how, membership, sums: sums ? "take" : "make" });
    this.#step = () => this.#hasReported("ready") && this.#go(this.#install);
    return true;
  }

  /** A replica without a log cannot be appended to in the middle of a generation. */
  #install(): boolean {
    const index = this.#context.primary.readIndex();
    const at = this.#at as Position;
    const isBare = this.#replica.log === null || !samePosition(at, this.#replica.position ?? at);
    if (isBare && index.frames > 0 && at.frame > 0 && sameSalts(index, at)) {
      this.#post({ type: "install-log", membership: this.#membership(null) });
      this.#step = () => this.#hasReported("ready") && this.#go(this.#attach);
      return true;
    }
    return this.#go(this.#attach);
  }

  #attach(): boolean {
    const { timeline } = this.#context.primary.sidecar.state;
    this.#post({ type: "attach", timeline, seen: null });
    this.#step = () => this.#hasReported("attached") && this.#go(this.#follow);
    return true;
  }

  #follow(): boolean {
    if (this.along) return this.#goAlong(this.along);
    const { primary, gate } = this.#context;
    const { position, index, sidecar } = primary;
    const at = this.#at as Position;
    const base = sidecar.state.generation?.base;
    const isHere = sameSalts(at, position);
    const isNext = base ? samePosition(at, base) : false;
    invariant(isHere || isNext, "the log did not restart twice", { at });
    const held = isHere ? at.frame : 0;
    const size = frameSize(index.pageSize);
    if ((position.frame - held) * size > CLOSE_BYTES && this.#getsCloser(position.frame - held)) {
      const step = firstCommit(primary, held + Math.ceil(FOLLOW_BYTES / size));
      const to = step && step.frame < position.frame ? step : position;
      this.#bring(to);
      this.#post({ type: "follow", log: walPath(primary.path), to });
      this.#step = () => this.#hasReported("followed") && this.#go(this.#follow);
      return true;
    }
    const mirror = this.#mirror as Mirror;
    rememberDisks(primary, glance(primary, this.#replica), [mirror]);
    this.#hasJoined = true;
    gate.admit(this.#index, mirror, at);
    this.#release();
    return false;
  }

  /** Step 4 of an asynchronous stream, for as long as the primary is open. */
  #goAlong(along: Along): false {
    if (!along.isBegun) {
      along.begin(this.#mirror as Mirror, this.#at as Position);
      this.#release();
    }
    const trail = along.advance(this.#isUrgent);
    if (!trail) return false;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#context.roster.goesAlong(this.#index, trail);
    return false;
  }

  #getsCloser(frames: number): boolean {
    const least = this.#least;
    this.#least =
      frames < least.frames ? { frames, steps: 0 } : { ...least, steps: least.steps + 1 };
    return this.#least.steps < PATIENCE;
  }

  /** It is about to be brought to a position, whole or not at all. */
  #bring(to: Position): void {
    this.#context.roster.passing(to);
    this.#at = to;
    this.along?.mayBe(to);
  }

  #go(step: () => boolean): boolean {
    this.#step = step;
    return true;
  }

  get #replica(): Copy {
    return this.#mirror?.copy as Copy;
  }

  get #mirrorContext(): MirrorContext {
    return { ...this.#context, primary: this.#context.primary.path };
  }

  #membership(file: Fingerprint | null): Membership {
    const { primary } = this.#context;
    const { generation } = primary.sidecar.state;
    const position = this.#at as Position;
    const isHere = generation && sameSalts(generation, position);
    return membershipOf(primary, { position, base: isHere ? generation.base : null }, file);
  }

  #post(command: Parameters<Mirror["post"]>[0]): void {
    (this.#mirror as Mirror).post(command);
    this.#heardAt = performance.now();
  }

  /** @throws LockstepError its failure, or that it has been silent for too long */
  #hasReported(type: Report["type"]): boolean {
    const mirror = this.#mirror as Mirror;
    for (;;) {
      const report = mirror.nextReport();
      if (report) this.#heardAt = performance.now();
      if (report?.type === type) return true;
      if (report) continue;
      if (performance.now() - this.#heardAt > this.#context.timeout) throw mirror.timedOut();
      return false;
    }
  }

  #hold(): void {
    if (!this.#holds) this.#context.checkpointer.hold();
    this.#holds = true;
  }

  #release(): void {
    if (this.#holds) this.#context.checkpointer.release();
    this.#holds = false;
  }
}
