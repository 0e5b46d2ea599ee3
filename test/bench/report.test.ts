/** Tables, plots and goals are made from a report's JSON. Nothing here measures anything. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { goals, goalTable } from "../../bench/goals.ts";
import { plot } from "../../bench/plot.ts";
import { type Report, table } from "../../bench/report.ts";

const sample = (way: string, x: number, round: number, p50: number, p99: number) => ({
  way,
  x,
  round,
  figures: { p50, p99 },
});

const byPages: Report = {
  workload: "pages",
  title: "By pages",
  date: "2026-01-02T03:04:05.000Z",
  node: "v26.0.0",
  sqlite: "3.50.0",
  system: "linux",
  cpu: "2 x a processor",
  scale: { quick: false, large: false, rounds: 3, commits: 1 },
  axis: { label: "pages", values: [1, 100] },
  ways: { lockstep: "Lockstep <ours>", two: "two databases", peer: "a peer" },
  figures: { p50: "µs", p99: "µs" },
  charts: [{ name: "p50", title: "Latency", figures: ["p50"], log: true }],
  unavailable: { peer: "npm cannot install it" },
  samples: [
    ...[120, 100, 110].map((p50, round) => sample("lockstep", 1, round, p50, 10 * p50)),
    ...[900, 1000, 5000].map((p50, round) => sample("lockstep", 100, round, p50, 10 * p50)),
    ...[240, 220, 200].map((p50, round) => sample("two", 1, round, p50, 10 * p50)),
  ],
};

test("the table has a row for each way and place that was measured, and says what was not", () => {
  assert.equal(
    table(byPages),
    `By pages; medians of 3 rounds (min-max)

  pages                           p50 µs               p99 µs
  1  Lockstep <ours>       110 (100-120)     1100 (1000-1200)
  1  two databases         220 (200-240)     2200 (2000-2400)
  100  Lockstep <ours>   1000 (900-5000)   10000 (9000-50000)
  a peer                 not measured: npm cannot install it
`,
  );
});

test("a plot over an axis: medians as points, the spread as lines, labels, unit", () => {
  const svg = plot(byPages, byPages.charts[0]!);
  assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox="0 0 760 \d+"/);
  assert.equal(svg.match(/<circle/g)?.length, 3, "a point for each median");
  // From 100 to 10000 on a logarithmic axis that is 300 high: 1000 is in the middle.
  assert.match(svg, /<circle[^>]* cy="214\.0"/);
  assert.match(svg, /<path class="spread"[^>]* d="M\S+ 220\.9V109\.2"\/>/, "900 to 5000");
  assert.match(svg, />Latency, µs</);
  assert.match(svg, />pages</);
  assert.match(svg, />Lockstep &lt;ours></);
  assert.match(svg, /not measured: a peer/);
  assert.match(svg, /prefers-color-scheme: dark/);
  assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
});

test("without an axis: a line over several figures, bars of one", () => {
  const flat: Report = {
    ...byPages,
    axis: null,
    samples: [sample("lockstep", 0, 0, 50, 80), sample("two", 0, 0, 100, 90)],
  };
  const line = plot(flat, { name: "tail", title: "Tail", figures: ["p50", "p99"] });
  assert.equal(line.match(/<circle/g)?.length, 4);
  assert.equal(line.match(/>p99</g)?.length, 1, "the figures are the places");

  const bars = plot(flat, { name: "p50", title: "Median", figures: ["p50"] });
  const widths = [...bars.matchAll(/<rect[^>]* width="([\d.]+)"/g)].map(([, width]) => width);
  assert.deepEqual(widths, ["170.0", "340.0"]);
  assert.match(bars, />100 µs</);

  const { lockstep } = flat.ways as { lockstep: string };
  const one = plot(
    { ...flat, ways: { lockstep } },
    { name: "both", title: "Both", figures: ["p50", "p99"] },
  );
  assert.equal(one.match(/<rect/g)?.length, 2, "of one way, a bar for each figure");
});

test("goals: met, missed, not measured, each with its reason", () => {
  const commit: Report = {
    ...byPages,
    workload: "commit",
    axis: null,
    unavailable: {},
    samples: [
      sample("lockstep", 0, 0, 120, 1),
      sample("two", 0, 0, 110, 1),
      sample("limit", 0, 0, 100, 1),
    ],
  };
  const callers: Report = { ...byPages, workload: "callers", unavailable: { barrier: "why not" } };
  const rows = goalTable({ commit, callers }).split("\n").slice(2, -1);
  assert.equal(rows.length, 1 + goals.length);
  const row = (start: string) => rows.find((each) => each.startsWith(`  ${start}`)) ?? "";
  assert.match(row("commit p50, one replica : limit"), /<= 1\.25 +1\.2 x +yes$/);
  assert.match(row("commit p50 : two"), /<= 1 +1\.091 x +NO$/);
  assert.match(row("barrier, 256 callers : rqlite"), /- +not measured: why not$/);
  assert.match(row("point reads"), /- +not measured: reads was not run$/);
});
