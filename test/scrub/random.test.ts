import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../crash/random.ts";
import { scratch } from "../scratch.ts";
import { rot } from "../support/rot.ts";
import { seed } from "../support/seed.ts";
import { Subject } from "./random.ts";

// Replay: SEED=N node --test test/scrub/random.test.ts. The thousand: npm run test:rot
test(`seed ${seed}: bits flipped in random pages are found, attributed and healed`, async (t) => {
  const subject = new Subject(scratch(t), 1000);
  const random = new Random(seed);
  for (let round = 0; round < 5; round++) await subject.round(random, 8);
});

test(`seed ${seed}: the same while the copies are in use`, async (t) => {
  const subject = new Subject(scratch(t), 1000);
  const random = new Random(seed);
  for (let round = 0; round < 2; round++) await subject.liveRound(random, 8);
});

test("canary: a flip that was not to be is noticed", async (t) => {
  const subject = new Subject(scratch(t), 500);
  rot(subject.copies[0], 3, 4096);
  await assert.rejects(subject.round(new Random(1), 1), { name: "AssertionError" });
});
