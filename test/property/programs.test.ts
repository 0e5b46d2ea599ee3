/**
 * Goal: whatever an application does, whenever it is cut off, whichever copy is away, lost, restored
 * or promoted: every start succeeds, all that was acknowledged is there, nothing that was never
 * committed is, and closed copies are equal byte for byte.
 * Method: random programs over one primary and one to three replicas, against a model that knows
 * what may have survived.
 * Replay: SEED=<seed> npx node --test test/property/programs.test.ts
 * Long runs: npm run test:model -- --programs N --seed S
 */
import "../support/memory.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { runs, seed } from "../support/seed.ts";
import { type Program, program } from "./program.ts";
import { run } from "./world.ts";

test(`seed ${seed}: random programs end with equal copies and what the model says`, async (t) => {
  await fc.assert(
    fc.asyncProperty(program, (each) => run(t, each)),
    { seed, numRuns: runs(6), endOnFailure: true },
  );
});

test("canary: what the model does not know is noticed", async (t) => {
  const [each] = fc.sample(program, { seed: 1, numRuns: 1 });
  await assert.rejects(run(t, each as Program, true), /what is found may not be/);
});
