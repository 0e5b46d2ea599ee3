/** The replicas that commits go on without, each on its way back; attended to as long as there are any. */
import type { Mirror } from "./mirror.ts";
import { Rejoin, type RejoinContext } from "./rejoin.ts";
import type { Member } from "./roster.ts";

/** How often they are attended to, besides after each commit, in milliseconds. */
const TEND_MS = 100;

export class Rejoins {
  readonly #context: RejoinContext;
  readonly #tend: () => void;
  /** By the numbers of their replicas. */
  readonly #ways = new Map<number, Rejoin>();
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  /** @param tend is called now and then, and calls `advance` */
  constructor(context: RejoinContext, tend: () => void) {
    this.#context = context;
    this.#tend = tend;
  }

  /** @param mirror the thread that failed; null: there was none */
  begin(member: Member, mirror: Mirror | null): void {
    this.#ways.set(member.index, new Rejoin(this.#context, member, mirror));
    if (!this.#stopped) this.#timer ??= setInterval(this.#tend, TEND_MS).unref();
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
    if (roster.isWhole) this.#rest();
    return joined;
  }

  /** They stay out. */
  stop(): void {
    this.#stopped = true;
    this.#rest();
    for (const way of this.#ways.values()) way.stop();
  }

  /** Waits until they are let go of. */
  close(): void {
    for (const way of this.#ways.values()) way.close();
  }

  #rest(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }
}
