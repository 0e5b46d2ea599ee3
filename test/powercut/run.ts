/**
 * `npm run powercut -- --states 10000 --seed S [--jobs 2]`: so many power cuts, 100 a tape.
 * A tape with a problem is kept; `--tape FILE --seed ITS-SEED` examines it again.
 */
import { parseArgs } from "node:util";
import { examine, lifeOf, type Problem, tapeOf } from "./laboratory.ts";

const { values } = parseArgs({
  options: {
    states: { type: "string", default: "1000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    jobs: { type: "string", default: "2" },
    tape: { type: "string" },
  },
});
const STATES_A_TAPE = 100;
const [states, firstSeed, jobs] = [values.states, values.seed, values.jobs].map(Number) as [
  number,
  number,
  number,
];
const tapes = values.tape ? 1 : Math.ceil(states / STATES_A_TAPE);
console.log(
  `${tapes * STATES_A_TAPE} states of ${tapes} tapes from seed ${firstSeed}, ${jobs} at a time`,
);
const started = performance.now();
const problems: Problem[] = [];
let next = 0;
let operations = 0;
await Promise.all(
  Array.from({ length: jobs }, async () => {
    while (next < tapes) {
      const seed = firstSeed + next++;
      const found = await examine(lifeOf(seed), seed, STATES_A_TAPE, { kept: values.tape ?? null });
      operations += found.operations;
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
  `${tapes * STATES_A_TAPE} states, ${operations} operations, ${problems.length} problems, ${seconds} s`,
);
process.exitCode = problems.length > 0 ? 1 : 0;
