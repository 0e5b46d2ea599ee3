/**
 * `npm run test:crash -- --runs 500 --seed S [--jobs 2]`: kills, checks, prints each run's seed.
 * A run that failed is repeated with `--runs 1 --seed` and its seed; its files are kept.
 */
import { parseArgs } from "node:util";
import { useInstalled } from "../support/installed.ts";
import { Checker } from "./checker.ts";
import { type RunReport, run } from "./pair.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "50" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    jobs: { type: "string", default: "2" },
  },
});
const [runs, firstSeed, jobs] = [values.runs, values.seed, values.jobs].map(Number) as [
  number,
  number,
  number,
];

useInstalled();
console.log(`${runs} runs from seed ${firstSeed}, ${jobs} at a time`);
const started = performance.now();
const reports: RunReport[] = [];
let next = 0;
await Promise.all(
  Array.from({ length: jobs }, async () => {
    const checker = new Checker();
    while (next < runs) {
      const report = await run(firstSeed + next++, checker);
      reports.push(report);
      console.log(line(report));
    }
    await checker.close();
  }),
);

const sum = (of: (report: RunReport) => number) => reports.reduce((total, r) => total + of(r), 0);
const seconds = ((performance.now() - started) / 1000).toFixed(0);
const failed = reports.filter((report) => report.problems.length > 0);
console.log(
  `${runs} runs, ${sum((r) => r.kills)} kills, ${sum((r) => r.acknowledged)} transactions ` +
    `acknowledged, ${failed.length} runs failed, ${seconds} s`,
);
for (const report of failed) console.log(line(report));
process.exitCode = failed.length > 0 ? 1 : 0;

function line({ seed, kills, lives, acknowledged, problems, directory }: RunReport): string {
  const end = problems.length === 0 ? "ok" : `FAILED, see ${directory}\n  ${problems.join("\n  ")}`;
  return `seed ${seed}: ${kills} kills in ${lives} lives, ${acknowledged} acknowledged, ${end}`;
}
