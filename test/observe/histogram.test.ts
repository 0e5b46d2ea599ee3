/** The buckets of durations: every duration is in the one that its bounds say, and quantiles are close. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BUCKETS,
  bucketOf,
  Histogram,
  OCTAVE_ENDS,
  percentiles,
  since,
  upperOf,
} from "../../src/histogram.ts";

test("the bounds rise, and the last has none", () => {
  const bounds = Array.from({ length: BUCKETS }, (_, bucket) => upperOf(bucket));
  assert.deepEqual(
    bounds,
    bounds.toSorted((a, b) => a - b),
  );
  assert.equal(new Set(bounds).size, BUCKETS);
  assert.equal(bounds[0], 16);
  assert.equal(bounds.at(-2), 2 ** 26);
  assert.equal(bounds.at(-1), Number.POSITIVE_INFINITY);
});

test("a duration is in the bucket between whose bounds it lies, at each bound from both sides", () => {
  for (let bucket = 0; bucket < BUCKETS - 1; bucket++) {
    assert.equal(bucketOf(upperOf(bucket) - 1), bucket);
    assert.equal(bucketOf(upperOf(bucket)), bucket + 1);
  }
  assert.equal(bucketOf(0), 0);
  assert.equal(bucketOf(2 ** 40), BUCKETS - 1);
});

test("an octave ends where the duration has doubled", () => {
  assert.deepEqual(
    OCTAVE_ENDS.map(upperOf),
    OCTAVE_ENDS.map((_, i) => 16 * 2 ** i),
  );
});

test("quantiles are right within a fifth", () => {
  for (const scale of [0.05, 1, 37, 900]) {
    const histogram = new Histogram();
    for (let i = 1; i <= 1000; i++) histogram.add((i * scale) / 100);
    const found = percentiles(histogram.latencies);
    assert.ok(found);
    for (const [is, right] of [
      [found.p50, 5 * scale],
      [found.p99, 9.9 * scale],
    ] as const) {
      assert.ok(is > right / 1.25 && is < right * 1.25, `${is} for ${right}`);
    }
  }
});

test("of nothing there is no quantile; of what is beyond all bounds the last bound", () => {
  const histogram = new Histogram();
  assert.equal(percentiles(histogram.latencies), null);
  histogram.add(200_000);
  assert.deepEqual(percentiles(histogram.latencies), { p50: 67108.864, p99: 67108.864 });
});

test("what came since a moment", () => {
  const histogram = new Histogram();
  histogram.add(1);
  const before = histogram.latencies;
  histogram.add(5);
  histogram.add(7);
  const { count, sumMs, buckets } = since(before, histogram.latencies);
  assert.deepEqual([count, sumMs], [2, 12]);
  assert.equal(
    buckets.reduce((sum, each) => sum + each),
    2,
  );
});
