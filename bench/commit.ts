/**
 * What a commit costs: one small transaction (an update and an insert) with a replica on the same
 * disk; the same to two databases, one after the other; the same to one. All at the durability of
 * synchronous=FULL. The ways take turns, each trial in a process and a directory of its own.
 *
 * Usage: npm run bench:commit -- [--rounds 5] [--commits 3000] [--directory DIR] [--json FILE]
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { columns, type Figure, figure, show } from "./figures.ts";
import { machine, trial } from "./trial.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    commits: { type: "string", default: "3000" },
    directory: { type: "string", default: tmpdir() },
    json: { type: "string" },
  },
});

const ways = {
  replica: "one database with a replica (Lockstep)",
  two: "two databases, one after the other",
  one: "one database",
};
type Way = keyof typeof ways;
type Trial = Record<"p50" | "p99" | "max" | "perSecond", number>;

const trials: Record<Way, Trial[]> = { replica: [], two: [], one: [] };
const order = Object.keys(ways) as Way[];
for (let round = 0; round < Number(values.rounds); round++) {
  for (const way of order) {
    const directory = mkdtempSync(join(values.directory, "lockstep-bench-"));
    trials[way].push(trial<Trial>("commit-trial.ts", way, directory, values.commits));
    rmSync(directory, { recursive: true });
  }
  // Nobody always comes after the same neighbour.
  order.push(order.shift() as Way);
  console.error(`round ${round + 1} of ${values.rounds}`);
}

const of = (way: Way, key: keyof Trial): Figure => figure(trials[way].map((one) => one[key]));
const ratio = (way: Way, key: keyof Trial): string =>
  `${(of("replica", key).median / of(way, key).median).toFixed(2)} x`;

console.log(
  `\n  ${values.commits} commits a trial, medians of ${values.rounds} trials (min-max)\n`,
);
console.log(
  columns([
    ["", "p50 µs", "p99 µs", "commits/s"],
    ...order
      .toSorted()
      .toReversed()
      .map((way) => [
        ways[way],
        show(of(way, "p50")),
        show(of(way, "p99")),
        show(of(way, "perSecond")),
      ]),
    ["Lockstep : two databases", ratio("two", "p50"), ratio("two", "p99"), ""],
    ["Lockstep : one database", ratio("one", "p50"), ratio("one", "p99"), ""],
  ]),
);

const report = {
  ...machine(),
  rounds: Number(values.rounds),
  commits: Number(values.commits),
  trials,
};
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
