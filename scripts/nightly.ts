/**
 * All long runs, one after the other, each at the size that docs/reliability.md aims at; each says its
 * seed, and how to repeat what failed. At full size it takes more than a night on two processors.
 *
 *   npm run nightly [-- --part 0.1] [--only kills,model]
 *
 *   --part   so much of each
 *   --only   these, by name
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

interface Run {
  readonly name: string;
  readonly script: string;
  /** How much, and the whole of it; without one it is always done whole. */
  readonly option?: string;
  readonly size?: number;
  readonly more?: readonly string[];
}

const RUNS: readonly Run[] = [
  { name: "powercut", script: "powercut", option: "--states", size: 1_000_000 },
  { name: "kills", script: "test:crash", option: "--runs", size: 5000 }, // some 10,000 kills
  { name: "faults", script: "test:sweep", option: "--cases", size: 45_000 }, // all there are
  { name: "model", script: "test:model", option: "--programs", size: 2000, more: ["--jobs", "2"] },
  { name: "fuzz", script: "fuzz", option: "--seconds", size: 3600 },
  { name: "readers", script: "test:reader", option: "--minutes", size: 10 },
  { name: "rot", script: "test:rot", option: "--flips", size: 1000 },
  { name: "writers", script: "test:replicate", option: "--minutes", size: 10 },
  { name: "drivers", script: "test:drivers" },
];

const { values } = parseArgs({
  options: {
    part: { type: "string", default: "1" },
    only: { type: "string", default: RUNS.map(({ name }) => name).join() },
  },
});
const part = Number(values.part);
if (!(part > 0)) throw new Error(`--part takes a number above 0, not ${values.part}`);
const wanted = values.only.split(",").map((name) => {
  const run = RUNS.find((each) => each.name === name);
  if (!run) throw new Error(`There is no run ${name}: ${RUNS.map((each) => each.name).join(", ")}`);
  return run;
});

const failed: string[] = [];
for (const { name, script, option, size = 0, more = [] } of wanted) {
  const args = option ? [option, String(Math.ceil(size * part)), ...more] : [];
  console.log(`\n${name}: npm run ${script} -- ${args.join(" ")}`);
  const began = performance.now();
  const { status } = spawnSync("npm", ["run", "-s", script, "--", ...args], { stdio: "inherit" });
  const minutes = ((performance.now() - began) / 60_000).toFixed(1);
  console.log(`${name}: ${status === 0 ? "passed" : "FAILED"}, ${minutes} minutes`);
  if (status !== 0) failed.push(name);
}
console.log(failed.length === 0 ? "\nall passed" : `\nFAILED: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
