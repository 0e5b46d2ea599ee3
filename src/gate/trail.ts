/**
 * An asynchronous stream that was brought close to the primary: it takes what commits have made durable in
 * all copies that they wait for, a little later. So it never holds what these may lack, and no commit waits:
 * it has no part in the ring, and what it takes is read from the primary's log and posted to its thread.
 *
 * Up to `WINDOW_BYTES` are under way, in chunks of a message each: so it stands at the end of one of them, and
 * `mayBeAt` names all places where it may. While more is left to be posted the log had better not begin anew
 * (rejoins.ts says how long it waits).
 */
import { codes, LockstepError } from "../errors.ts";
import type { Position } from "../lineage/position.ts";
import {
  decodeFrameHeader,
  frameOffset,
  frameSize,
  sameSalts,
  WAL_HEADER_SIZE,
} from "../wal/format.ts";
import type { Gate } from "./gate.ts";
import { PIECE_BYTES } from "./messages.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

/** How much may be posted, and not confirmed. */
const WINDOW_BYTES = 4 << 20;

export class Trail {
  readonly mirror: Mirror;
  /** What it is known to hold. */
  held: Position;
  /** When the first commit was made that it lacks, or somewhat before; 0: it lacks none. */
  since = 0;
  /** The last frame that was posted. */
  #sent: Pick<Position, "salt1" | "salt2" | "frame">;
  readonly #context: TrailContext;
  /** Posted, and not confirmed. */
  #pending: readonly Chunk[] = [];
  /** How many chunks the thread had confirmed before the first of these. */
  #confirmed: number;
  /** When it last confirmed something, or had nothing to confirm. */
  #movedAt = 0;

  /** @param held what it holds: in the present generation, or at its base */
  constructor(context: TrailContext, mirror: Mirror, held: Position) {
    this.#context = context;
    this.mirror = mirror;
    this.held = held;
    this.#sent = held;
    this.#confirmed = mirror.followed;
  }

  /** Does it hold all that is durable in the others? */
  get isEven(): boolean {
    return this.#pending.length === 0 && this.isSent;
  }

  /** Is all of that at least posted, so that it does not need the log? */
  get isSent(): boolean {
    const { durable } = this.#context.gate;
    return sameSalts(this.#sent, durable) && this.#sent.frame >= durable.frame;
  }

  /** The commits at one of which it stands, now and for as long as nothing is posted. */
  get mayBeAt(): readonly Position[] {
    return [this.held, ...this.#pending.flatMap(({ at }) => at ?? [])];
  }

  /**
   * Takes what was confirmed, and posts what is due. Does not wait.
   * @param all as much as there is room for; else what comes in while something is under way goes together
   * @throws LockstepError its failure, or that it is too slow
   */
  advance(all: boolean): void {
    while (this.mirror.nextReport()) {}
    this.#takeConfirmed();
    const now = performance.now();
    if (this.isEven) this.since = 0;
    else this.since ||= now;
    if (this.#pending.length === 0) this.#movedAt = now;
    const { timeout } = this.#context;
    if (now - this.#movedAt > timeout) {
      this.mirror.timedOut();
      throw tooSlow(this.mirror.path, `it has confirmed nothing for ${timeout} ms`);
    }
    if (this.isSent || (!all && this.#pending.length > 0 && this.#bytesLeft() < PIECE_BYTES))
      return;
    while (!this.isSent && this.#hasRoom) if (!this.#post()) return;
  }

  get #hasRoom(): boolean {
    return this.#pending.reduce((sum, { bytes }) => sum + bytes, PIECE_BYTES) <= WINDOW_BYTES;
  }

  #bytesLeft(): number {
    const { gate, primary } = this.#context;
    return (gate.durable.frame + 1 - this.#next()) * frameSize(primary.index.pageSize);
  }

  /** The first frame that was not posted, of the generation that is durable. @throws LockstepError if it is gone */
  #next(): number {
    const { gate, primary } = this.#context;
    const sent = this.#sent;
    if (sameSalts(sent, gate.durable)) return sent.frame + 1;
    const { generation } = primary.sidecar.state;
    const base = generation && sameSalts(generation, gate.durable) ? generation.base : null;
    if (base && sameSalts(base, sent) && base.frame === sent.frame) return 1;
    throw tooSlow(this.mirror.path, "the log began anew before it had all of it");
  }

  /** Posts the next chunk; false if its frames are not in the log as it is now. */
  #post(): boolean {
    const { gate, primary } = this.#context;
    const { durable } = gate;
    const { pageSize } = primary.index;
    const first = this.#next();
    if (!sameSalts(primary.index, durable)) return false;
    // Nothing of a log that may begin anew at any moment: where the stream would stand then is on no record.
    if (primary.foldedHere()) throw tooSlow(this.mirror.path, "the log may begin anew");
    const size = frameSize(pageSize);
    let last = primary.index.frames;
    last = Math.min(last, durable.frame); // durable: nothing that others may lack goes to it
    // durable: a chunk is one message with an end of a transaction at most
    last = Math.min(last, first - 1 + Math.floor((PIECE_BYTES - WAL_HEADER_SIZE) / size));
    const offset = first === 1 ? 0 : frameOffset(first, pageSize);
    const bytes = new Uint8Array(frameOffset(last + 1, pageSize) - offset);
    const readAt = performance.now();
    primary.readLog(bytes, 0, bytes.length, offset);
    const commit = lastCommit(bytes, size, last);
    const frames = last - first + 1;
    const record = { ...durable, first, frames, pageSize, ends: last === durable.frame };
    const at = commit && { ...durable, ...commit };
    this.#pending = [...this.#pending, { bytes: bytes.length, at, readAt }];
    this.#sent = { salt1: durable.salt1, salt2: durable.salt2, frame: last };
    this.mirror.post({ type: "frames", record, bytes }, [bytes.buffer]);
    return true;
  }

  #takeConfirmed(): void {
    const count = this.mirror.followed - this.#confirmed;
    if (count === 0) return;
    const taken = this.#pending.slice(0, count);
    this.#pending = this.#pending.slice(count);
    this.#confirmed += count;
    this.#movedAt = performance.now();
    for (const { at, readAt } of taken) {
      this.held = at ?? this.held;
      this.since = readAt; // what it lacks now was committed after that
    }
  }
}

export interface TrailContext {
  readonly primary: Primary;
  readonly gate: Gate;
  /** In milliseconds. */
  readonly timeout: number;
}

interface Chunk {
  readonly bytes: number;
  /** The last commit in it, if one ends there: its message ends there. */
  readonly at: Position | null;
  readonly readAt: number;
}

export function tooSlow(stream: string, why: string): LockstepError {
  return new LockstepError(codes.REPLICA_TIMEOUT, {
    copy: stream,
    what: `This asynchronous stream is too slow: ${why}`,
    state:
      "Commits go on; it holds a beginning of what was acknowledged, and is brought up to date by itself",
    next: "See whether its disk answers, and as fast as is committed",
  });
}

/** The last commit in frames that end with this one. */
function lastCommit(
  bytes: Uint8Array,
  size: number,
  last: number,
): Pick<Position, "frame" | "sum1" | "sum2"> | null {
  for (let at = bytes.length - size, frame = last; at >= 0; at -= size, frame--) {
    const { commit, sum1, sum2 } = decodeFrameHeader(bytes, at);
    if (commit > 0) return { frame, sum1, sum2 };
  }
  return null;
}
