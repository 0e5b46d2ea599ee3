/**
 * `npm run powercut -- --states 10000 --seed S [--jobs 2]`: so many power cuts, 100 a seed; of many, 600.
 * A tape with a problem is kept; `--tape FILE --seed ITS-SEED` cuts it again at the same moments.
 */
import { parseArgs } from "node:util";
import { useInstalled } from "../support/installed.ts";
import { examineLives, examineTape, type Problem, tapeOf } from "./laboratory.ts";

const { values } = parseArgs({
  options: {
    states: { type: "string", default: "1000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    jobs: { type: "string", default: "2" },
    tape: { type: "string" },
  },
});
const [states, firstSeed, jobs] = [values.states, values.seed, values.jobs].map(Number) as [
  number,
  number,
  number,
];
/** Each seed has three tapes. To record one takes as long as to examine some dozens of states. */
const STATES_A_TAPE = states < 10_000 ? 34 : 200;
const STATES_A_SEED = 3 * STATES_A_TAPE;
const seeds = values.tape ? 1 : Math.ceil(states / STATES_A_SEED);
useInstalled();
console.log(`${seeds} seeds from ${firstSeed}, ${STATES_A_SEED} states each, ${jobs} at a time`);
const started = performance.now();
const problems: Problem[] = [];
let next = 0;
let operations = 0;
let examined = 0;
await Promise.all(
  Array.from({ length: jobs }, async () => {
    while (next < seeds) {
      const seed = firstSeed + next++;
      const found = values.tape
        ? await examineTape(values.tape, seed, STATES_A_TAPE)
        : await examineLives(seed, STATES_A_TAPE);
      operations += found.operations;
      examined += found.states;
      problems.push(...found.problems);
      const end = found.problems.length === 0 ? "ok" : `FAILED, see ${tapeOf(seed)}`;
      console.log(`seed ${seed}: ${found.operations} operations, ${found.states} states, ${end}`);
      for (const { state, what } of found.problems.slice(0, 5))
        console.log(`  state ${state}: ${what}`);
    }
  }),
);
const seconds = ((performance.now() - started) / 1000).toFixed(0);
console.log(
  `${examined} states, ${operations} operations, ${problems.length} problems, ${seconds} s`,
);
process.exitCode = problems.length > 0 ? 1 : 0;
