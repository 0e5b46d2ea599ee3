import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, test } from "node:test";
import { seed as first, runs } from "../support/seed.ts";
import { Checker } from "./checker.ts";
import { run, type Sabotage } from "./pair.ts";

const checker = new Checker();
after(() => checker.close());

for (let seed = first; seed < first + runs(6); seed++) {
  // Replay: npm run test:crash -- --runs 1 --seed N
  test(`seed ${seed}: a process killed at a random instant loses nothing`, async () => {
    const { problems } = await run(seed, checker);
    assert.deepEqual(problems, []);
  });
}

// Seeds whose first kill comes in the middle of the load.
const canaries: readonly (readonly [Sabotage, RegExp])[] = [
  ["one more was acknowledged", /were acknowledged/],
  ["the replica lost a transaction", /\(b\) the replica alone: \d+ were acknowledged/],
  ["the replica holds another value", /\(b\) the replica alone: \d+ found, contents differ/],
];

for (const [sabotage, complaint] of canaries) {
  test(`canary: the checks notice that ${sabotage}`, async () => {
    const { problems, directory } = await run(7, checker, sabotage);
    assert.match(problems.join("\n"), complaint);
    rmSync(directory, { recursive: true });
  });
}
