/**
 * Of an asynchronous stream, between its way back (rejoin.ts) and going along (trail.ts): where it may stand, and whether
 * the log is kept for it.
 *
 * Invariant: before the log may begin anew all places at which the stream may stand are on record, or are about to be with
 * what the file holds; and it is brought no further in that log from then on.
 */
import { type Position, samePosition } from "../lineage/position.ts";
import { frameOffset } from "../wal/format.ts";
import { glance } from "./live-log.ts";
import type { Mirror } from "./mirror.ts";
import { rememberDisks } from "./mounted.ts";
import type { Roster } from "./roster.ts";
import { noteStreams } from "./streams.ts";
import { Trail, type TrailContext } from "./trail.ts";

/** How much of the log is kept for it, beyond what it lacked when it came; in bytes. */
const MOST_BYTES = 64 << 20;
/** How many places it may be at that is tried again and again. */
const MOST_LEFT = 32;

export interface AlongContext extends TrailContext {
  readonly roster: Roster;
  /** From here on it goes along. */
  readonly onFound: (stream: string, at: Position) => void;
}

export class Along {
  readonly #context: AlongContext;
  readonly #path: string;
  #trail: Trail | null = null;
  /** Where it may stand while it does not go along; null: it was not seen since the start. */
  #left: readonly Position[] | null = null;
  /** May frames of the log bring it on? */
  isServed = true;
  /** Up to which size the log is better kept for that. */
  #most = MOST_BYTES;
  /** Has the last try failed, and the next not begun? */
  isDown = false;

  constructor(context: AlongContext, path: string) {
    this.#context = context;
    this.#path = path;
  }

  /** Does it go along? */
  get isBegun(): boolean {
    return this.#trail !== null;
  }

  /** Does it lack something, and takes it if it is given the time? */
  get isLacking(): boolean {
    return !this.isDown && !this.#trail?.isEven;
  }

  /** Does it need the log no more, for all that is durable is on its way to it? */
  get isSent(): boolean {
    return this.#trail?.isSent ?? false;
  }

  get isLost(): boolean {
    return this.#left === null;
  }

  /** Is a log of this size better kept for it than begun anew? */
  needs(logBytes: number): boolean {
    return !this.isSent && this.isServed && logBytes < this.#most;
  }

  /** It stands there, or where it may have stood before: its last thread may be at work yet. */
  mayBe(position: Position): void {
    const before = this.#left ?? this.#context.primary.later.at[this.#path] ?? [];
    const others = before.filter((each) => !samePosition(each, position));
    this.#left = [...others, position].slice(-MOST_LEFT);
  }

  /** The log may begin anew. */
  leave(): void {
    const { roster } = this.#context;
    if (!this.isSent) this.isServed = false;
    const at = this.#trail?.mayBeAt ?? this.#left;
    if (at) roster.left(this.#path, at);
    else roster.leftAnywhere();
  }

  /** It was brought to `at`, where nobody else writes any more; `at` is in the log, or under its first frame. */
  begin(mirror: Mirror, at: Position): void {
    const { primary, onFound } = this.#context;
    this.#left = [at];
    onFound(this.#path, at);
    this.#trail = new Trail(this.#context, mirror, at);
    this.#most = MOST_BYTES + frameOffset(primary.position.frame + 1, primary.index.pageSize);
    noteStreams(primary, [mirror]);
    if (mirror.copy) rememberDisks(primary, glance(primary, mirror.copy), [mirror]);
  }

  /**
   * @param all as much as there is room for
   * @returns the trail, once all that is durable is on its way
   * @throws as `Trail.advance`
   */
  advance(all: boolean): Trail | null {
    const trail = this.#trail as Trail;
    trail.advance(all);
    this.isServed = true;
    if (!trail.isSent) return null;
    this.#most = MOST_BYTES;
    return trail;
  }

  /** It does not go along any more. */
  fail(): void {
    this.isDown = true;
    this.#left = this.#trail?.mayBeAt ?? this.#left;
    this.#trail = null;
  }
}
