/**
 * Every case of the sweep, in an order that a seed gives: so a part of them is a fair sample, and a
 * run that was ended is gone on with.
 *
 *   npm run test:sweep [-- --jobs 2] [--seed S] [--from N] [--cases N] [--all] [--cold]
 *                      [--driver TEXT] [--phase TEXT] [--fault TEXT] [--call TEXT]
 *
 *   --all     every call; without it, of many of one kind on one file, some (matrix.ts: thinned)
 *   --cold    threads and processes are begun for each case; without it, for each fiftieth
 *   --from    goes on with the N-th case; every line says which one it is
 *   --driver, --phase, --fault, --call   only those whose name has this in it
 *
 * A case that fails prints the command that repeats it alone.
 */
import "../support/memory.ts";
import type { TestContext } from "node:test";
import { parseArgs } from "node:util";
import type { DriverName } from "../../src/driver.ts";
import { Random } from "../crash/random.ts";
import { DRIVERS } from "../support/drivers.ts";
import { useInstalled } from "../support/installed.ts";
import { type Fault, faults, type Point, pointsFor, tell, thinned } from "./matrix.ts";
import { phases } from "./phases.ts";
import { Sweep } from "./sweep.ts";

const { values } = parseArgs({
  options: {
    jobs: { type: "string", default: "2" },
    seed: { type: "string", default: "1" },
    from: { type: "string", default: "1" },
    cases: { type: "string", default: "1000000000" },
    all: { type: "boolean", default: false },
    cold: { type: "boolean", default: false },
    driver: { type: "string", default: "" },
    phase: { type: "string", default: "" },
    fault: { type: "string", default: "" },
    call: { type: "string", default: "" },
  },
});

interface Case {
  readonly driver: DriverName;
  readonly phase: string;
  readonly fault: Fault;
  readonly point: Point;
}

/** A sweep of each driver in every job; when a case fails, what it left is thrown away. */
class Jobs {
  readonly #after: (() => unknown)[] = [];
  readonly #sweeps = new Map<DriverName, Sweep>();

  of(driver: DriverName): Sweep {
    const context = { after: (work: () => unknown) => this.#after.push(work) };
    const sweep = this.#sweeps.get(driver) ?? new Sweep(context as unknown as TestContext, driver);
    this.#sweeps.set(driver, sweep);
    return sweep;
  }

  async end(): Promise<void> {
    this.#sweeps.clear();
    for (const work of this.#after.splice(0).reverse()) await work();
  }
}

/** So many cases are lived through warm, and then one cold. */
const WARM_RUN = 50;

useInstalled();
const began = performance.now();
const cases = shuffled(await casesOf(), Number(values.seed));
const first = Number(values.from) - 1;
const last = Math.min(cases.length, first + Number(values.cases));
console.log(`${cases.length} cases; ${first + 1} to ${last} of them, seed ${values.seed}`);

/** How often which code came out, of which fault on which copy. */
const tally = new Map<string, Map<string, number>>();
let next = first;
let failures = 0;
let missed = 0;
process.once("SIGINT", () => {
  summary(next - first);
  console.log(`go on with --from ${next + 1}`);
  process.exit(1);
});
await Promise.all(Array.from({ length: Number(values.jobs) }, work));
summary(last - first);
process.exitCode = failures === 0 ? 0 : 1;

function summary(done: number): void {
  for (const [what, codes] of [...tally].sort()) console.log(what, Object.fromEntries(codes));
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(`${done} cases in ${seconds} s: ${failures} failed, ${missed} did without the call`);
}

async function work(): Promise<void> {
  const job = new Jobs();
  while (next < last) {
    const at = next++;
    const each = cases[at] as Case;
    const { driver, phase, fault, point } = each;
    const cold = values.cold || at % WARM_RUN === 0;
    try {
      const { hit, codes } = await job.of(driver).attempt(phase, fault, point, !cold);
      if (!hit) missed++;
      else count(each, codes);
    } catch (error) {
      failures++;
      console.log(
        `FAILED ${name(each)}${cold ? ", cold" : ""}\n  ${(error as Error).message}\n  repeat: ${command(each)}`,
      );
      await job.end();
    }
    if ((at + 1) % 100 === 0) console.log(`case ${at + 1} of ${cases.length}`);
  }
  await job.end();
}

async function casesOf(): Promise<Case[]> {
  const cases: Case[] = [];
  const job = new Jobs();
  for (const driver of DRIVERS.filter((each) => each.includes(values.driver))) {
    for (const phase of Object.keys(phases).filter((each) => each.includes(values.phase))) {
      const all = await job.of(driver).points(phase);
      const points = (values.all ? all : thinned(all)).filter((point) =>
        `${tell(point)} `.includes(values.call),
      );
      for (const fault of faults.filter((each) => each.name.includes(values.fault))) {
        for (const point of pointsFor(fault, phase, points)) {
          cases.push({ driver, phase, fault, point });
        }
      }
    }
  }
  await job.end();
  return cases;
}

function shuffled(cases: Case[], seed: number): Case[] {
  const random = new Random(seed);
  for (let i = cases.length - 1; i > 0; i--) {
    const j = random.between(0, i);
    [cases[i], cases[j]] = [cases[j] as Case, cases[i] as Case];
  }
  return cases;
}

function name({ driver, phase, fault, point }: Case): string {
  return `${phase}; ${fault.name}: ${tell(point)}, with ${driver}`;
}

function command({ driver, phase, fault, point }: Case): string {
  const options = { driver, phase, fault: fault.name, call: `${tell(point)} ` };
  const text = Object.entries(options).map(([key, value]) => `--${key} "${value}"`);
  return `npm run test:sweep -- --all --jobs 1 ${text.join(" ")}`;
}

function count({ fault, point }: Case, codes: readonly string[]): void {
  const what = `${fault.name}, ${point.path.split("/")[0]}:`;
  const counts = tally.get(what) ?? new Map<string, number>();
  tally.set(what, counts);
  for (const code of codes.length > 0 ? new Set(codes) : ["no error"]) {
    counts.set(code, (counts.get(code) ?? 0) + 1);
  }
}
