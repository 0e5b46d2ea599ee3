/**
 * A look at asynchronous streams before a primary that is missing begins anew: whoever holds a database is seen in a
 * moment, and one that is not there, or hangs, holds nobody up for longer.
 */
import { isAsynchronous } from "../address.ts";
import { Mirror, type MirrorContext } from "./mirror.ts";
import type { Member } from "./roster.ts";

/** In milliseconds. */
const PATIENCE_MS = 1000;

export class Peek {
  readonly #context: MirrorContext;
  readonly #paths: readonly string[];
  #mirrors: readonly Mirror[] = [];

  /** @param paths what the replicas are called, by number */
  constructor(context: MirrorContext, paths: readonly string[]) {
    this.#context = context;
    this.#paths = paths;
  }

  /** Those that hold something. */
  holding(): Mirror[] {
    const { addresses, slots } = this.#context;
    this.#mirrors = addresses.flatMap((address, i) =>
      isAsynchronous(address) ? [new Mirror(this.#context, this.#paths[i] as string, i, null)] : [],
    );
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const seen = slots.bell();
      const left = deadline - performance.now();
      if (left <= 0 || this.#mirrors.every(hasSpoken)) break;
      slots.waitForBell(seen, left);
    }
    for (const mirror of this.#mirrors) mirror.dismiss("looked at");
    return this.#mirrors.filter(({ copy }) => copy?.file === "present");
  }

  /** The thread that may still have a stream. */
  of({ index }: Member): Mirror | null {
    return this.#mirrors.find((mirror) => mirror.index === index) ?? null;
  }
}

function hasSpoken(mirror: Mirror): boolean {
  try {
    while (!mirror.copy && mirror.nextReport()) {}
    return mirror.copy !== null;
  } catch {
    return true; // it says why when it is tried again
  }
}
