/** Records a tape, cuts the power at random moments of it, and checks what is left. */
import fs from "node:fs";
import { driverNames } from "../crash/open.ts";
import { Random } from "../crash/random.ts";
import { Checks, DISKS, type Tally } from "./check.ts";
import { type Cut, cuts } from "./cuts.ts";
import { type Beginning, record, type Subject } from "./subject.ts";
import { type Operation, readTape, tapeOf } from "./tape.ts";

export interface Problem {
  readonly seed: number;
  /** Which of the tape's states, from 0; -1: none of them. */
  readonly state: number;
  readonly what: string;
}

export interface Findings extends Tally {
  readonly operations: number;
  readonly problems: readonly Problem[];
}

/**
 * A life of a replicated database, as a function of the seed: the first one on empty disks, further
 * ones after a power cut.
 */
export function lifeOf(seed: number, generation = 1): Subject {
  const random = new Random(seed, generation, 6);
  const calls = generation === 1 ? [25, 25, 10] : [5, 5];
  const callsUntilClose = calls.map((most) => random.between(1, most));
  return {
    kind: "lockstep",
    job: {
      seed,
      generation,
      driver: random.pick(driverNames),
      durability: random.pick(["commit", "barrier"]),
      checkpointBytes: random.pick([1, 20_000, 60_000, 300_000]),
      callsUntilClose,
    },
  };
}

/** Three lives: one from nothing, and two that begin with what a cut of the first left. */
export async function examineLives(
  scratch: string,
  seed: number,
  states: number,
): Promise<Findings> {
  const random = new Random(seed, 8);
  const beginnings = [random.below(states), random.below(states)];
  const kept: Cut[] = [];
  const keep = (cut: Cut, state: number): void => {
    for (const [i, beginning] of beginnings.entries()) if (beginning === state) kept[i] = cut;
  };
  const lives = [await examine(scratch, lifeOf(seed), seed, states, { keep })];
  for (const [i, { wreck, lo, hi }] of kept.entries()) {
    const disks = random.oneIn(3) ? ["main"] : DISKS; // a new disk for the replica, or none
    const from = { wreck, disks, lo, hi };
    lives.push(await examine(scratch, lifeOf(seed, i + 2), seed, states, { from }));
  }
  const sum = (of: (life: Findings) => number): number =>
    lives.reduce((total, life) => total + of(life), 0);
  return {
    drawn: sum(({ drawn }) => drawn),
    distinct: sum(({ distinct }) => distinct),
    cold: sum(({ cold }) => cold),
    operations: sum(({ operations }) => operations),
    problems: lives.flatMap(({ problems }) => problems),
  };
}

export interface Terms {
  readonly from?: Beginning;
  /** Syncs of these files are taken for none: a canary's lie. */
  readonly ignoring?: RegExp | null;
  readonly keep?: (cut: Cut, state: number) => void;
}

/** Cuts one life. A tape with a problem is kept. */
export async function examine(
  scratch: string,
  subject: Subject,
  seed: number,
  states: number,
  terms: Terms = {},
): Promise<Findings> {
  const tape = record(subject, scratch, terms.from);
  const found = await check(scratch, subject, readTape(tape), seed, states, terms);
  if (found.problems.length > 0 && !terms.ignoring && subject.kind === "lockstep") {
    fs.copyFileSync(tape, tapeOf(seed, subject.job.generation));
  }
  return found;
}

/** Cuts what was recorded before, at the same moments. */
export function examineTape(
  scratch: string,
  tape: string,
  seed: number,
  states: number,
): Promise<Findings> {
  return check(scratch, lifeOf(seed), readTape(tape), seed, states, {});
}

// --- internal ---

async function check(
  scratch: string,
  subject: Subject,
  tape: readonly Operation[],
  seed: number,
  states: number,
  { ignoring = null, keep = () => {} }: Terms,
): Promise<Findings> {
  const problems: Problem[] = [];
  const isReplicated = subject.kind === "lockstep";
  const plan = isReplicated ? subject.job.seed : subject.seed;
  const checks = new Checks(scratch, plan, new Random(seed, 7), isReplicated);
  let state = 0;
  for (const cut of cuts(tape, seed, states, ignoring)) {
    keep(cut, state);
    const found = await checks.check(cut);
    problems.push(...found.map((what) => ({ seed, state, what })));
    state++;
  }
  return { ...checks.tally, operations: tape.length, problems };
}
