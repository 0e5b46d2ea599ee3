/**
 * The replicas that commits go on without, each on its way back; attended to as long as there are any. And asynchronous
 * streams, which are on their way for good: before the log may begin anew these take what they lack.
 */
import type { Position } from "../lineage/position.ts";
import { frameOffset } from "../wal/format.ts";
import type { Mirror } from "./mirror.ts";
import type { Peek } from "./peek.ts";
import { Rejoin, type RejoinContext } from "./rejoin.ts";
import type { Member } from "./roster.ts";

/** How often they are attended to, besides after commits, in milliseconds. */
const TEND_MS = 100;
/** How often asynchronous streams are, while commits follow one another. */
const PACE_MS = 5;
/** How long is waited at a close, in milliseconds: for what asynchronous streams lack, and until all are let go of. */
const CLOSE_MS = 1000;

export class Rejoins {
  readonly #context: RejoinContext;
  readonly #peek: Peek;
  readonly #tend: () => void;
  /** By the numbers of their replicas. */
  readonly #ways = new Map<number, Rejoin>();
  readonly #hasAsynchronous: boolean;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;
  #stopAt = 0;
  #attendedAt = 0;

  /**
   * @param peek may have threads at asynchronous streams yet
   * @param tend is called now and then, and calls `advance`
   */
  constructor(context: RejoinContext, peek: Peek, tend: () => void) {
    this.#context = context;
    this.#peek = peek;
    this.#tend = tend;
    this.#hasAsynchronous = context.roster.members.some(({ asynchronous }) => asynchronous);
    if (this.#hasAsynchronous) context.checkpointer.beforeEnd = () => this.#handOver();
  }

  /** @param mirror the thread that failed; null: there was none */
  begin(member: Member, mirror: Mirror | null): void {
    if (member.asynchronous && this.#ways.has(member.index)) return; // it is on its way for good
    const onFound = (stream: string, at: Position): void => {
      // The others' places may be in no record yet but in the list of all.
      const others = [...this.#ways.values()].filter(({ path }) => path !== stream);
      const isLast = others.every(({ along }) => along?.isBegun ?? true);
      this.#context.roster.found(stream, at, isLast);
    };
    const last = mirror ?? this.#peek.of(member);
    this.#ways.set(member.index, new Rejoin({ ...this.#context, onFound }, member, last));
    if (!this.#stopped) this.#timer ??= setInterval(() => this.#tend(), TEND_MS).unref();
  }

  /** Is it time to attend to asynchronous streams? @param isFolded one that needs that may not have it again soon */
  isDue(isFolded: boolean): boolean {
    if (!this.#hasAsynchronous) return false;
    return isFolded || performance.now() >= this.#attendedAt + PACE_MS;
  }

  /**
   * Does what can be done by now; returns what mirrors to the replicas that have joined.
   * @throws as `Rejoin.advance`
   */
  advance(): Mirror[] {
    const { roster } = this.#context;
    const joined: Mirror[] = [];
    for (const [index, way] of this.#ways) {
      // One that is lost while it joins has another way then.
      if (!way.advance() || this.#ways.get(index) !== way) continue;
      this.#ways.delete(index);
      const mirror = roster.members[index]?.mirror;
      if (mirror) joined.push(mirror);
    }
    if (roster.isWhole && !this.#hasAsynchronous) this.#rest();
    this.#attendedAt = performance.now();
    return joined;
  }

  /**
   * They stay out.
   * @param drains only after asynchronous streams have taken what they lack, if they do within a second
   */
  stop(drains = false): void {
    this.#stopAt = performance.now() + CLOSE_MS;
    try {
      if (drains && this.#hasAsynchronous) this.#drain();
    } finally {
      this.#stopped = true;
      this.#rest();
      for (const way of this.#ways.values()) way.stop();
    }
  }

  /** Waits until they are let go of, within the same second; each a moment. */
  close(): void {
    const least = CLOSE_MS / 10;
    for (const way of this.#ways.values()) {
      way.close(Math.max(least, this.#stopAt - performance.now()));
    }
  }

  /**
   * The log is about to begin anew. An asynchronous stream that lacks more of it than it can be handed has it kept, up to a
   * bound, but not while a replica that commits should wait for needs a checkpoint to come back.
   * @returns null, or who would rather have the log stay
   */
  #handOver(): string | null {
    const ways = [...this.#ways.values()];
    const { roster, primary } = this.#context;
    if (!this.#stopped) for (const way of ways) way.hurry();
    const bytes = frameOffset(primary.position.frame + 1, primary.index.pageSize);
    const mayWait = !this.#stopped && roster.isWhole;
    const needing = mayWait ? ways.find(({ along }) => along?.needs(bytes)) : undefined;
    if (needing) return `${needing.path}: an asynchronous stream lacks too much of the log`;
    // durable: where an asynchronous stream may stand is on record with what the file holds
    for (const way of ways) way.leave(this.#stopped);
    return null;
  }

  #drain(): void {
    const { gate, slots, checkpointer } = this.#context;
    gate.pass();
    for (;;) {
      const seen = slots.bell();
      checkpointer.advance(); // one that needs an image needs that
      const lacking = [...this.#ways.values()].filter(({ along }) => along?.isLacking);
      for (const way of lacking) {
        way.advance();
        way.hurry();
      }
      const left = this.#stopAt - performance.now();
      if (left <= 0 || !lacking.some(({ along }) => along?.isLacking)) return;
      slots.waitForBell(seen, Math.min(left, TEND_MS));
    }
  }

  #rest(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }
}
