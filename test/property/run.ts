/**
 * `npm run test:model -- --programs N --seed S [--jobs J]`: program i is made of the seed S + i, so that
 * one that fails is repeated with `--programs 1 --seed` and its seed. A failed one is made smaller.
 */
import "../support/memory.ts";
import { parseArgs } from "node:util";
import fc from "fast-check";
import type { Ending } from "../scratch.ts";
import { program } from "./program.ts";
import { run } from "./world.ts";

const { values } = parseArgs({
  options: {
    programs: { type: "string", default: "100" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    jobs: { type: "string", default: "1" },
    /** How long a program that failed is made smaller, in seconds. */
    shrink: { type: "string", default: "60" },
  },
});
const [programs, firstSeed, jobs, shrink] = [
  ...[values.programs, values.seed, values.jobs, values.shrink],
].map(Number) as [number, number, number, number];

console.log(`${programs} programs from seed ${firstSeed}, ${jobs} at a time`);
const began = performance.now();
let next = 0;
let failed = 0;
const lives = { all: 0, killed: 0 };
await Promise.all(
  Array.from({ length: jobs }, async () => {
    while (next < programs) await tryOne(firstSeed + next++);
  }),
);
const seconds = ((performance.now() - began) / 1000).toFixed(0);
console.log(
  `${programs} programs, ${lives.all} lives, ${lives.killed} of them killed, ${failed} failed, ${seconds} s`,
);
process.exitCode = failed > 0 ? 1 : 0;

async function tryOne(seed: number): Promise<void> {
  let first = true;
  let told = "";
  const property = fc.asyncProperty(program, async (each) => {
    if (first) told = `${each.driver}, ${each.replicas} replicas, ${each.lives.length} lives`;
    if (first) for (const { end } of each.lives) count(end);
    first = false;
    const ends: (() => unknown)[] = [];
    const ending = { after: (end: () => unknown) => void ends.push(end) } as Ending;
    try {
      await run(ending, each);
    } finally {
      for (const end of ends) end();
    }
  });
  // Seeds that follow one another would make programs that begin alike.
  const options = { seed: Math.imul(seed, 0x9e3779b1), numRuns: 1 };
  const report = await fc.check(property, { ...options, endOnFailure: true });
  if (!report.failed) {
    console.log(`seed ${seed}: ${told}, ok`);
    return;
  }
  failed++;
  console.log(`seed ${seed} FAILED: ${(report.errorInstance as Error).stack}`);
  const limit = { interruptAfterTimeLimit: shrink * 1000 };
  const smaller = shrink > 0 ? await fc.check(property, { ...options, ...limit }) : report;
  const { counterexample, errorInstance, numShrinks } = smaller.counterexample ? smaller : report;
  console.log(`made smaller ${numShrinks} times: ${JSON.stringify(counterexample?.[0], null, 1)}`);
  console.log((errorInstance as Error).stack);
}

function count(end: unknown): void {
  lives.all++;
  if (typeof end === "object" && end !== null && "kill" in end) lives.killed++;
}
