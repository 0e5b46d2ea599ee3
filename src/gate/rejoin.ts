/**
 * The way back of one replica that commits went on without. Nothing here waits: `advance` does what can
 * be done by now, after commits and now and then.
 *
 *   1  leave     the thread that served the replica lets go of it, however long that takes
 *   2  look      after a while a new thread locks the replica and says what it is; the start's table
 *                decides (lineage/decide.ts), and what it refuses stays out
 *   3  prepare   if frames are not enough: at a moment when the primary's file holds all, checkpoints
 *                wait, and the replica is copied, or made equal by a delta, to just that
 *   4  follow    the replica takes from the primary's log what it lacks, until it is close behind
 *   5  join      the rest goes through the ring, and commits wait for it; it counts again, and its mark is
 *                taken off the record, when it has confirmed that
 *
 * From step 3 on, or 4 if that is skipped, checkpoints wait: the log does not restart, and grows by what
 * is committed meanwhile. Whatever fails on the way begins it anew, after a longer while each time.
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
import type { Checkpointer } from "./checkpoint.ts";
import { type Gate, gateFailure } from "./gate.ts";
import { commitsAfter, glance } from "./live-log.ts";
import type { Membership, Report } from "./messages.ts";
import { Mirror, type MirrorContext } from "./mirror.ts";
import { assertMounted, rememberDisks } from "./mounted.ts";
import type { Primary } from "./primary.ts";
import type { Member, Roster } from "./roster.ts";

/** How long after a failure it is tried again, in milliseconds: doubled each time, up to the longest. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** How much may be left for the ring, where the commits of others wait for it. */
const CLOSE_BYTES = 1 << 20;

export interface RejoinContext extends MirrorContext {
  readonly primary: Primary;
  readonly gate: Gate;
  readonly roster: Roster;
  readonly checkpointer: Checkpointer;
}

export class Rejoin {
  readonly #context: RejoinContext;
  readonly #path: string;
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
  /** What the replica holds, or is being brought to. */
  #at: Position | null = null;
  /** What it held before frames were sent to it; null: none were. */
  #from: Position | null = null;
  #hasJoined = false;

  /** @param mirror the thread that failed; null: there was none */
  constructor(context: RejoinContext, { path, index }: Member, mirror: Mirror | null) {
    this.#context = context;
    this.#path = path;
    this.#index = index;
    this.#mirror = mirror;
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
      const failure = gateFailure(this.#path, error);
      if (this.#hasJoined || failure.code === codes.FENCED) throw failure;
      this.#fail(failure);
    }
    return this.#hasJoined;
  }

  /** Gives up. The replica stays out, and is let go of as soon as its thread can. */
  stop(): void {
    this.#release();
    this.#mirror?.dismiss("closed");
  }

  /** Waits until it is let go of, unless its thread hangs: it was done without before. */
  close(): void {
    try {
      this.#mirror?.close(false, "closed");
    } catch (error) {
      this.#context.roster.note(this.#index, gateFailure(this.#path, error));
    }
  }

  #fail(failure: LockstepError): void {
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
    this.#context.slots.renew(this.#index);
    this.#mirror = new Mirror(this.#context, this.#path, this.#index, null);
    this.#heardAt = performance.now();
    this.#step = this.#look;
    return true;
  }

  #look(): boolean {
    if (!this.#hasReported("described")) return false;
    const { action } = this.#decide();
    if (action.do === "copy" || action.do === "delta") {
      this.#context.checkpointer.hasten();
      this.#step = () => this.#prepare(action.do);
    } else {
      this.#hold();
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
    const { primary } = this.#context;
    if (!primary.foldedHere()) return false; // the checkpoint is still to come
    this.#hold();
    this.#at = primary.position;
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
    this.#from = this.#at;
    this.#step = () => this.#hasReported("attached") && this.#go(this.#follow);
    return true;
  }

  #follow(): boolean {
    const { primary, gate } = this.#context;
    const { position, index, sidecar } = primary;
    const at = this.#at as Position;
    const base = sidecar.state.generation?.base;
    const isHere = sameSalts(at, position);
    const isNext = base ? samePosition(at, base) : false;
    invariant(isHere || isNext, "the log did not restart twice", { at });
    const lacking = position.frame - (isHere ? at.frame : 0);
    if (lacking * frameSize(index.pageSize) > CLOSE_BYTES) {
      this.#post({ type: "follow", log: walPath(primary.path), to: position });
      this.#at = position;
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

  #go(step: () => boolean): boolean {
    this.#step = step;
    return true;
  }

  get #replica(): Copy {
    return this.#mirror?.copy as Copy;
  }

  #membership(file: Fingerprint | null): Membership {
    const { path, sidecar } = this.#context.primary;
    const { databaseId, timeline, generation } = sidecar.state;
    const at = this.#at as Position;
    return {
      databaseId: databaseId as string,
      timeline,
      position: at,
      base: generation && sameSalts(generation, at) ? generation.base : null,
      primary: path,
      file,
      history: sidecar.history,
    };
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
    if (!this.#holds) return;
    const { primary, roster, checkpointer } = this.#context;
    if (this.#from && !this.#hasJoined) roster.leftAt(commitsAfter(primary, this.#from));
    checkpointer.release();
    this.#holds = false;
    this.#from = null;
  }
}
