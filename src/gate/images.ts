/**
 * Whole images of the database beside its streams, made anew from time to time: a stream can be shortened only behind one, and
 * whoever restores reads one and what came after. While an image is made its file must stay as it is:
 * checkpoints wait, commits do not. They wait as long as it makes progress: one that hangs is not waited for, so that the
 * log does not grow until it answers. It is kept nevertheless if the file is still the same by then.
 */
import fs from "node:fs";
import { isStream, settingsOf } from "../address.ts";
import { codes, LockstepError } from "../errors.ts";
import type { SidecarState } from "../lineage/sidecar.ts";
import type { Checkpointer } from "./checkpoint.ts";
import { unlessLost } from "./fold-copies.ts";
import type { Gate } from "./gate.ts";
import { membershipOf } from "./membership.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";
import type { Roster } from "./roster.ts";

/** So much must have been committed since the last one, unless the stream's address says `imageBytes=`. */
const LEAST_BYTES = 64 << 20;
/** Or a stream has so many messages since, from openings before this one. */
const MOST_MESSAGES = 20_000;
/** How often a checkpoint is asked for before an image can be made, in milliseconds. */
const ASK_AGAIN_MS = 500;

interface Context {
  readonly primary: Primary;
  readonly roster: Roster;
  readonly gate: Gate;
  readonly checkpointer: Checkpointer;
  /** How long an image may make no progress before checkpoints go on, in milliseconds. */
  readonly timeout: number;
}

export class Images {
  readonly #context: Context;
  /** By number: what was asked for; null: what is usual. */
  readonly #every: readonly (number | null)[];
  /** What had been committed when the last one of a stream was made. */
  readonly #madeAt = new WeakMap<Mirror, number>();
  #under: Mirror | null = null;
  /** How many it had made before. */
  #before = 0;
  /** Do checkpoints wait for it? */
  #isHeld = false;
  #begunAt = 0;
  #askedAt = 0;

  /**
   * @param addresses of the replicas, by number
   * @throws LockstepError BAD_OPTION
   */
  constructor(context: Context, addresses: readonly string[]) {
    this.#context = context;
    this.#every = addresses.map((address) => (isStream(address) ? bytesOf(address) : null));
  }

  /** After a commit: begins with one that is due, or sees whether one is made. Does not wait. */
  advance(): null {
    const { roster } = this.#context;
    if (this.#under) this.#look(this.#under);
    const due = this.#under ? null : roster.connected.find((mirror) => this.#isDue(mirror));
    if (due) this.#begin(due);
    return null;
  }

  /** None is made any more. */
  stop(): void {
    this.#end();
  }

  #isDue(mirror: Mirror): boolean {
    if (!mirror.isStream) return false;
    const madeAt = this.#madeAt.get(mirror);
    if (madeAt === undefined && mirror.messages > MOST_MESSAGES) return true;
    const since = this.#context.gate.meter.bytes - (madeAt ?? 0);
    const asked = this.#every[mirror.index];
    if (asked) return since >= asked;
    // Else an image costs as much as what it saves whoever restores.
    return since >= LEAST_BYTES && since >= fs.statSync(this.#context.primary.path).size;
  }

  /** At a moment when the file holds all. */
  #begin(mirror: Mirror): void {
    const { primary, checkpointer, gate, roster } = this.#context;
    if (!primary.foldedHere()) {
      if (performance.now() - this.#askedAt < ASK_AGAIN_MS) return;
      this.#askedAt = performance.now();
      checkpointer.hasten();
      return;
    }
    if (!roster.hasAllSent(mirror)) return; // the image is of what was sent before
    const { position } = primary;
    const { generation, folded } = primary.sidecar.state;
    const { file } = folded as NonNullable<SidecarState["folded"]>;
    checkpointer.hold();
    this.#isHeld = true;
    this.#begunAt = performance.now();
    this.#under = mirror;
    this.#before = mirror.images;
    this.#madeAt.set(mirror, gate.meter.bytes);
    const base = generation?.base ?? null;
    mirror.post({ type: "image", membership: membershipOf(primary, { position, base }, file) });
  }

  #look(mirror: Mirror): void {
    const { roster, gate, timeout } = this.#context;
    const isLost = !roster.connected.includes(mirror);
    const isMade = (): boolean => {
      mirror.hear(); // checkpoints may be under way, whose answers are not for this
      return mirror.images > this.#before;
    };
    // False: not yet. Null: it failed, and commits go on without it.
    if (isLost || unlessLost(gate, mirror, isMade) !== false) this.#end();
    else if (performance.now() - Math.max(this.#begunAt, mirror.progressAt) > timeout)
      this.#release();
  }

  #end(): void {
    this.#release();
    this.#under = null;
  }

  #release(): void {
    if (this.#isHeld) this.#context.checkpointer.release();
    this.#isHeld = false;
  }
}

// --- internal ---

function bytesOf(address: string): number | null {
  const text = settingsOf(address).get("imageBytes");
  if (text === undefined) return null;
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `In the address of the stream \`imageBytes\` is ${JSON.stringify(text)}`,
    state: "Nothing was opened",
    next: "Write a number of bytes",
  });
}
