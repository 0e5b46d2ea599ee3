/**
 * How often something took how long, in buckets that grow with the duration: four an octave, so that a
 * quantile is right within a fifth, from 16 µs to 67 s. Nothing is allocated to count one.
 *
 *   bucket 0     less than 16 µs
 *   bucket b     from upperOf(b - 1) to less than upperOf(b)
 *   the last     67 s and more: upperOf() is infinite
 */
const FIRST_OCTAVE = 4; // 2^4 µs
const LAST_OCTAVE = 25; // to 2^26 µs

/** How many buckets there are. */
export const BUCKETS = 2 + (LAST_OCTAVE - FIRST_OCTAVE + 1) * 4;

/** Every fourth bucket ends where the duration has doubled: enough for whoever draws or alerts. */
export const OCTAVE_ENDS: readonly number[] = Array.from(
  { length: LAST_OCTAVE - FIRST_OCTAVE + 2 },
  (_, octave) => octave * 4,
);

/** @param microseconds a whole number, not negative */
export function bucketOf(microseconds: number): number {
  if (microseconds < 1 << FIRST_OCTAVE) return 0;
  if (microseconds >= 2 << LAST_OCTAVE) return BUCKETS - 1;
  const octave = 31 - Math.clz32(microseconds);
  return 1 + (octave - FIRST_OCTAVE) * 4 + ((microseconds >>> (octave - 2)) & 3);
}

/** Where a bucket ends, in microseconds. */
export function upperOf(bucket: number): number {
  if (bucket === 0) return 1 << FIRST_OCTAVE;
  if (bucket >= BUCKETS - 1) return Number.POSITIVE_INFINITY;
  const octave = FIRST_OCTAVE + ((bucket - 1) >> 2);
  return (5 + ((bucket - 1) & 3)) * 2 ** (octave - 2);
}

/** What was counted up to a moment; the difference of two is what came between. */
export interface Latencies {
  readonly count: number;
  /** All of them together, in milliseconds. */
  readonly sumMs: number;
  /** How many are in each bucket; see src/histogram.ts for the bounds. */
  readonly buckets: readonly number[];
}

/** Half, and 99 of 100, took at most so many milliseconds; null if there was none. */
export type Percentiles = { readonly p50: number; readonly p99: number } | null;

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #sum = 0;

  /** @param milliseconds how long one took */
  add(milliseconds: number): void {
    const microseconds = Math.floor(milliseconds * 1000);
    const bucket = bucketOf(microseconds);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += microseconds;
  }

  get latencies(): Latencies {
    return latenciesOf([...this.#counts], this.#sum);
  }
}

export function latenciesOf(buckets: readonly number[], microseconds: number): Latencies {
  const count = buckets.reduce((sum, each) => sum + each, 0);
  return { count, sumMs: microseconds / 1000, buckets };
}

/** What was counted since `before`. */
export function since(before: Latencies, now: Latencies): Latencies {
  return {
    count: now.count - before.count,
    sumMs: now.sumMs - before.sumMs,
    buckets: now.buckets.map((each, i) => each - (before.buckets[i] as number)),
  };
}

export function percentiles(latencies: Latencies): Percentiles {
  if (latencies.count === 0) return null;
  return { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) };
}

/** In milliseconds: as if a bucket's durations were spread evenly over it. */
function quantile({ count, buckets }: Latencies, part: number): number {
  let left = part * count;
  let bucket = 0;
  while (bucket < BUCKETS - 1 && (buckets[bucket] as number) < left) {
    left -= buckets[bucket] as number;
    bucket++;
  }
  const lower = bucket === 0 ? 0 : upperOf(bucket - 1);
  const upper = upperOf(bucket);
  if (upper === Number.POSITIVE_INFINITY) return lower / 1000; // at least
  return (lower + ((upper - lower) * left) / Math.max(1, buckets[bucket] as number)) / 1000;
}
