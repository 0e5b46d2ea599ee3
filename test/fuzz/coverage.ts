/**
 * Which parts of src/ have run, by the counters of V8 itself: what guides the fuzzer to inputs that
 * lead somewhere new. A feature is a block and how often it ran, in powers of two.
 */
import inspector from "node:inspector";

export class Coverage {
  readonly #session = new inspector.Session();
  readonly #seen = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#post("Profiler.enable");
    this.#post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  get size(): number {
    return this.#seen.size;
  }

  /** How many features have shown since the last call that never did before. */
  news(): number {
    const before = this.#seen.size;
    for (const { url, functions } of this.#take()) {
      if (!url.includes("/src/")) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          const often = 32 - Math.clz32(count);
          if (count > 0) this.#seen.add(`${url}:${startOffset}-${endOffset}:${often}`);
        }
      }
    }
    return this.#seen.size - before;
  }

  close(): void {
    this.#session.disconnect();
  }

  #take(): inspector.Profiler.ScriptCoverage[] {
    const taken = this.#post("Profiler.takePreciseCoverage");
    return (taken as inspector.Profiler.TakePreciseCoverageReturnType).result;
  }

  /** In the same process the answer is there when the call returns. */
  #post(method: string, parameters: object = {}): unknown {
    let answer: unknown;
    this.#session.post(method, parameters, (error, result) => {
      if (error) throw error;
      answer = result;
    });
    return answer;
  }
}
