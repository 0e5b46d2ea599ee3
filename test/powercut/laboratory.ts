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
import { cuts } from "./cuts.ts";
import { layOut } from "./layout.ts";
import { record, type Subject } from "./subject.ts";
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

/** A life of a replicated database, as a function of the seed. */
export function lifeOf(seed: number): Subject {
  const random = new Random(seed, 6);
  const callsUntilClose = [random.between(3, 25), random.between(1, 25), random.between(1, 10)];
  return {
    kind: "lockstep",
    job: {
      seed,
      generation: 1,
      driver: random.pick(driverNames),
      durability: random.pick(["commit", "barrier"]),
      checkpointBytes: random.pick([1, 20_000, 60_000, 300_000]),
      callsUntilClose,
    },
  };
}

/**
 * @param states how many cuts
 * @param kept a tape that was recorded before; null: it is recorded now
 */
export async function examine(
  subject: Subject,
  seed: number,
  states: number,
  { kept = null, ignoring = null }: { kept?: string | null; ignoring?: RegExp | null } = {},
): Promise<Findings> {
  const scratch = fs.mkdtempSync(join(PLACE, "lockstep-powercut-"));
  const checker = new Checker();
  try {
    const tape = kept ? readTape(kept) : record(subject, scratch);
    const problems = await check(subject, tape, seed, states, { scratch, checker, ignoring });
    if (problems.length > 0 && !kept && !ignoring) keepTape(scratch, seed);
    return { states, operations: tape.length, problems };
  } finally {
    await checker.close();
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

/** A process's threads never run the same way twice: what was found is replayed from its tape. */
export function tapeOf(seed: number): string {
  return join(os.tmpdir(), `lockstep-powercut-${seed}.tape`);
}

function keepTape(scratch: string, seed: number): void {
  fs.copyFileSync(join(scratch, "tape"), tapeOf(seed));
}

async function check(
  subject: Subject,
  tape: readonly Operation[],
  seed: number,
  states: number,
  { scratch, checker, ignoring }: { scratch: string; checker: Checker; ignoring: RegExp | null },
): Promise<Problem[]> {
  const problems: Problem[] = [];
  const random = new Random(seed, 7);
  let state = 0;
  for (const { wreck, lo, hi } of cuts(tape, seed, states, ignoring)) {
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
      copies: isReplicated ? ["main/app.db", "replica/app.db"] : ["main/app.db"],
    });
    problems.push(...answer.map((what) => ({ seed, state, what })));
    for (const directory of [both, alone]) fs.rmSync(directory, { recursive: true, force: true });
    state++;
  }
  return problems;
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
