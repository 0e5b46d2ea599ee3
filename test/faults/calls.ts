/** A record of calls to ask questions of. */
import assert from "node:assert/strict";
import type { Pair } from "./pair.ts";
import type { Call, Kind } from "./shim.ts";

export class Calls {
  readonly #calls: readonly Call[];

  constructor(calls: readonly Call[]) {
    this.#calls = calls;
  }

  get length(): number {
    return this.#calls.length;
  }

  [Symbol.iterator](): IterableIterator<Call> {
    return this.#calls[Symbol.iterator]();
  }

  filter(keep: (call: Call) => boolean): Calls {
    return new Calls(this.#calls.filter(keep));
  }

  /** Calls of one kind on one path. */
  where(kind: Kind, path: string): Calls {
    return this.filter((call) => call.kind === kind && call.path === path);
  }

  /** Those that ended before `call` began. */
  before(call: Call): Calls {
    return this.filter(({ end }) => end <= call.begin);
  }

  /** Those that began after `call` ended. */
  after(call: Call): Calls {
    return this.filter(({ begin }) => begin >= call.end);
  }

  /** Without the first `n`. */
  since(n: number): Calls {
    return new Calls(this.#calls.slice(n));
  }

  first(): Call {
    const [call] = this.#calls;
    assert.ok(call, "there is such a call");
    return call;
  }

  last(): Call {
    const call = this.#calls.at(-1);
    assert.ok(call, "there is such a call");
    return call;
  }

  only(): Call {
    assert.equal(this.length, 1, "there is one such call");
    return this.first();
  }

  /** Each of these ended before the next one began. */
  inOrder(...calls: readonly Call[]): void {
    for (const [i, call] of calls.entries()) {
      const next = calls[i + 1];
      if (next) assert.ok(call.end <= next.begin, `${tell(call)} comes before ${tell(next)}`);
    }
  }
}

/** What was recorded, in the order in which the calls began. */
export function calls(pair: Pair): Calls {
  return new Calls(pair.record().sort((a, b) => a.begin - b.begin));
}

function tell({ kind, path, detail }: Call): string {
  return `${kind} ${path} ${detail}`;
}
