/** Records a tape, cuts the power at random moments of it, and has what is left checked. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { driverNames } from "../crash/open.ts";
import { Random } from "../crash/random.ts";
import type { Check } from "./checker.ts";
import { type Cut, cuts } from "./cuts.ts";
import { layOut } from "./layout.ts";
import { type Beginning, record, type Subject } from "./subject.ts";
import { type Operation, readTape } from "./tape.ts";

export interface Problem {
  readonly seed: number;
  /** Which of the tape's states, from 0. */
  readonly state: number;
  readonly what: string;
}

export interface Findings {
  readonly states: number;
  readonly operations: number;
  readonly problems: readonly Problem[];
}

const DISKS = ["main", "replica"];
/** States are many and short-lived: where there is memory for files, no disk need be worn by them. */
const PLACE = fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();

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
export async function examineLives(seed: number, states: number): Promise<Findings> {
  return inLaboratory(async (laboratory) => {
    const random = new Random(seed, 8);
    const first = await laboratory.examine(lifeOf(seed), seed, states);
    let { operations } = first;
    const problems = [...first.problems];
    for (const generation of [2, 3]) {
      const { wreck, lo, hi } = random.pick(first.cuts);
      const disks = random.oneIn(3) ? ["main"] : DISKS; // a new disk for the replica, or none
      const from = { wreck, disks, lo, hi };
      const later = await laboratory.examine(lifeOf(seed, generation), seed, states, { from });
      operations += later.operations;
      problems.push(...later.problems);
    }
    return { states: 3 * states, operations, problems };
  });
}

/** Cuts one life, in which all is as it should be but that some syncs may be taken for none. */
export function examine(
  subject: Subject,
  seed: number,
  states: number,
  ignoring: RegExp | null = null,
): Promise<Findings> {
  return inLaboratory((laboratory) => laboratory.examine(subject, seed, states, { ignoring }));
}

/** Cuts what was recorded before, at the same moments. */
export function examineTape(tape: string, seed: number, states: number): Promise<Findings> {
  return inLaboratory(({ scratch, checker }) =>
    check(lifeOf(seed), readTape(tape), seed, states, { scratch, checker, ignoring: null }),
  );
}

interface Laboratory {
  readonly scratch: string;
  readonly checker: Checker;
  examine(
    subject: Subject,
    seed: number,
    states: number,
    options?: { from?: Beginning; ignoring?: RegExp | null },
  ): Promise<Findings & { readonly cuts: readonly Cut[] }>;
}

async function inLaboratory<Result>(
  work: (laboratory: Laboratory) => Promise<Result>,
): Promise<Result> {
  const scratch = fs.mkdtempSync(join(PLACE, "lockstep-powercut-"));
  const checker = new Checker();
  try {
    return await work({
      scratch,
      checker,
      async examine(subject, seed, states, { from, ignoring = null } = {}) {
        const tape = record(subject, scratch, from);
        const place = { scratch, checker, ignoring };
        const found = await check(subject, readTape(tape), seed, states, place);
        if (found.problems.length > 0 && !ignoring && subject.kind === "lockstep") {
          fs.copyFileSync(tape, tapeOf(seed, subject.job.generation));
        }
        return found;
      },
    });
  } finally {
    await checker.close();
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

/** A process's threads never run the same way twice: what was found is replayed from its tape. */
export function tapeOf(seed: number, life: number | "*" = "*"): string {
  return join(os.tmpdir(), `lockstep-powercut-${seed}-${life}.tape`);
}

async function check(
  subject: Subject,
  tape: readonly Operation[],
  seed: number,
  states: number,
  { scratch, checker, ignoring }: { scratch: string; checker: Checker; ignoring: RegExp | null },
): Promise<Findings & { readonly cuts: readonly Cut[] }> {
  const problems: Problem[] = [];
  const made: Cut[] = [];
  const random = new Random(seed, 7);
  let state = 0;
  for (const cut of cuts(tape, seed, states, ignoring)) {
    const { wreck, lo, hi, holders } = cut;
    made.push(cut);
    const [both, alone] = ["both", "alone"].map((name) => join(scratch, `${name}-${state}`)) as [
      string,
      string,
    ];
    layOut(wreck, alone, DISKS);
    const isReplicated = subject.kind === "lockstep";
    if (isReplicated) layOut(wreck, both, DISKS);
    const answer = await checker.ask({
      seed: subject.kind === "lockstep" ? subject.job.seed : subject.seed,
      ...{ lo, hi, alone, both: isReplicated ? both : null },
      driver: random.pick(driverNames),
      copies: isReplicated ? holders : ["main/app.db"],
    });
    problems.push(...answer.map((what) => ({ seed, state, what })));
    for (const directory of [both, alone]) fs.rmSync(directory, { recursive: true, force: true });
    state++;
  }
  return { states, operations: tape.length, problems, cuts: made };
}

/** The process that checks; one for many states. */
class Checker {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;

  constructor() {
    const script = join(import.meta.dirname, "checker.ts");
    this.#child = spawn(process.execPath, [script], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  async ask(check: Check): Promise<string[]> {
    this.#child.stdin.write(`${JSON.stringify(check)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error("the process that checks has died");
    return JSON.parse(value) as string[];
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null && this.#child.signalCode === null)
      await once(this.#child, "exit");
  }
}
