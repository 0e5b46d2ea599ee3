/**
 * `npm run powercut -- --states 10000 --seed S [--jobs 2] [--a-tape 34]`: so many power cuts, so many of each
 * tape; a seed has three. A tape with a problem is kept; `--tape FILE --seed ITS-SEED --a-tape N` cuts it
 * again at the same moments.
 */
import { parseArgs } from "node:util";
import { useInstalled } from "../support/installed.ts";
import { Laboratory } from "./laboratory.ts";
import type { Findings } from "./lives.ts";
import { tapeOf } from "./tape.ts";

const { values } = parseArgs({
  options: {
    states: { type: "string", default: "1000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    jobs: { type: "string", default: "2" },
    "a-tape": { type: "string" },
    tape: { type: "string" },
  },
});
const [wanted, firstSeed, jobs] = [values.states, values.seed, values.jobs].map(Number) as [
  number,
  number,
  number,
];
/** To record a tape takes as long as to examine some dozens of states. */
const statesATape = Number(values["a-tape"] ?? (wanted < 10_000 ? 34 : 400));
const statesASeed = 3 * statesATape;
const seeds = values.tape ? 1 : Math.ceil(wanted / statesASeed);
useInstalled();
console.log(`${seeds} seeds from ${firstSeed}, ${statesASeed} states each, ${jobs} at a time`);
const started = performance.now();
const all: Findings[] = [];
let next = 0;
await Promise.all(
  Array.from({ length: jobs }, async () => {
    const laboratory = new Laboratory();
    while (next < seeds) {
      const seed = firstSeed + next++;
      const what = values.tape ? { tape: values.tape } : "lives";
      const found = await laboratory.examine({ what, seed, states: statesATape });
      all.push(found);
      const { problems } = found;
      console.log(`seed ${seed}: ${told(found)}`);
      if (problems.length > 0) {
        console.log(`  FAILED: --tape ${tapeOf(seed)} --seed ${seed} --a-tape ${statesATape}`);
      }
      for (const { state, what } of problems.slice(0, 5)) console.log(`  state ${state}: ${what}`);
    }
    await laboratory.close();
  }),
);
const sum = (of: (found: Findings) => number): number => all.reduce((n, found) => n + of(found), 0);
const problems = all.flatMap((found) => found.problems);
const seconds = (performance.now() - started) / 1000;
const states = told({
  drawn: sum(({ drawn }) => drawn),
  distinct: sum(({ distinct }) => distinct),
  cold: sum(({ cold }) => cold),
  operations: sum(({ operations }) => operations),
  problems,
});
console.log(`${states}, ${seconds.toFixed(0)} s`);
process.exitCode = problems.length > 0 ? 1 : 0;

function told({ drawn, distinct, cold, operations, problems }: Findings): string {
  return (
    `${drawn} states, ${distinct} of them distinct and started (${cold} cold), ` +
    `${operations} operations, ${problems.length} problems`
  );
}
