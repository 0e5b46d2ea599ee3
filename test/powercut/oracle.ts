/** A plain database that goes ahead, and is asked what it holds after each transaction. */
import { DatabaseSync } from "node:sqlite";
import { contentsOf, foundIn } from "../crash/contents.ts";
import { commitPlainly } from "../crash/perform.ts";
import { transactionAt } from "../crash/plan.ts";

export class Oracle {
  readonly #seed: number;
  readonly #db = new DatabaseSync(":memory:");
  readonly #digests: string[] = [];

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** @returns a digest of its contents after so many transactions */
  digest(n: number): string | undefined {
    for (let at = this.#digests.length; at <= n; at++) {
      if (at > foundIn(this.#db)) commitPlainly(this.#db, transactionAt(this.#seed, at));
      this.#digests.push(contentsOf(this.#db).digest);
    }
    return this.#digests[n];
  }
}
