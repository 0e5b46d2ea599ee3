/**
 * The loop: take an input, change it, check that the properties hold. Inputs that made the code do
 * something new are kept and changed further.
 */
import { Random } from "../crash/random.ts";
import { Coverage } from "./coverage.ts";

/** What is fuzzed: inputs that are valid, ways to change them, and what must hold of any input. */
export interface Target<Input> {
  readonly name: string;
  readonly corpus: readonly Input[];
  /** A changed copy. @param others the inputs that are kept so far */
  mutate(input: Input, others: readonly Input[], random: Random): Input;
  /** Throws if something does not hold. */
  check(input: Input): void | Promise<void>;
  /** Do threads or processes do the work? Then there is nothing to be guided by. */
  readonly unguided?: boolean;
}

export interface FuzzOptions {
  readonly seed: number;
  /** Ends after so many cases, or so many milliseconds, whichever is first. */
  readonly cases?: number;
  readonly ms?: number;
  /** Told of each input before it is tried. */
  readonly onCase?: (input: unknown, number: number) => void;
}

export interface FuzzReport {
  readonly cases: number;
  readonly kept: number;
  readonly features: number;
}

/** Inputs that are kept besides the corpus; the oldest give way. */
const KEPT_MAX = 1000;

/** @throws the first failed check's error, which says the seed and the number of the case */
export async function fuzz<Input>(
  target: Target<Input>,
  { seed, cases = Number.POSITIVE_INFINITY, ms = Number.POSITIVE_INFINITY, onCase }: FuzzOptions,
): Promise<FuzzReport> {
  const coverage = target.unguided ? null : new Coverage();
  const kept = [...target.corpus];
  const until = performance.now() + ms;
  let number = 0;
  try {
    for (const input of target.corpus) await tried(input, number++);
    while (number < cases && performance.now() < until) {
      const random = new Random(seed, number);
      // The newest have not had their turn yet.
      const recent = kept.slice(-10);
      const input = target.mutate(random.pick(random.oneIn(2) ? kept : recent), kept, random);
      if ((await tried(input, number++)) > 0) keep(input);
    }
    return { cases: number, kept: kept.length, features: coverage?.size ?? 0 };
  } finally {
    coverage?.close();
  }

  async function tried(input: Input, at: number): Promise<number> {
    onCase?.(input, at);
    try {
      await target.check(input);
    } catch (error) {
      throw new Error(`${target.name}, seed ${seed}, case ${at}: ${(error as Error).message}`, {
        cause: error,
      });
    }
    return coverage?.news() ?? 0;
  }

  function keep(input: Input): void {
    if (kept.length >= target.corpus.length + KEPT_MAX) kept.splice(target.corpus.length, 1);
    kept.push(input);
  }
}
