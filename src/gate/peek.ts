/**
 * A look at asynchronous streams before a primary that is missing begins anew: for this once they are waited for as every
 * replica is. A database that is begun beside one that holds it would never be brought together with it.
 */
import { isAsynchronous } from "../address.ts";
import { Mirror, type MirrorContext } from "./mirror.ts";
import type { Member } from "./roster.ts";

export class Peek {
  readonly #context: MirrorContext;
  readonly #paths: readonly string[];
  #mirrors: readonly Mirror[] = [];

  /** @param paths what the replicas are called, by number */
  constructor(context: MirrorContext, paths: readonly string[]) {
    this.#context = context;
    this.#paths = paths;
  }

  /**
   * Those that hold something.
   * @throws LockstepError if one does not say: it may hold the database, and nobody would ever look again
   */
  holding(): Mirror[] {
    const { addresses } = this.#context;
    this.#mirrors = addresses.flatMap((address, i) =>
      isAsynchronous(address) ? [new Mirror(this.#context, this.#paths[i] as string, i, null)] : [],
    );
    try {
      for (const mirror of this.#mirrors) mirror.look(); // durable: no primary begins beside what was not looked at
    } finally {
      for (const mirror of this.#mirrors) mirror.dismiss("looked at");
    }
    return this.#mirrors.filter(({ copy }) => copy?.file === "present");
  }

  /** The thread that may still have a stream. */
  of({ index }: Member): Mirror | null {
    return this.#mirrors.find((mirror) => mirror.index === index) ?? null;
  }
}
