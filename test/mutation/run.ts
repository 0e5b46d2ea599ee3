/**
 * Goal: every line on which durability rests has a test that fails when it is removed.
 * Method: such lines are marked in the source (marks.ts). One at a time is removed in a copy of the
 * tree, and tests run until one fails: first the one that killed this mutant before, then suite by
 * suite, all mutants that are left in one before any in the next. A test that failed must pass where
 * nothing was removed; if not, it proves nothing and the search goes on. What survives has no test.
 *
 *   npm run test:mutation [-- --only TEXT] [--suite GLOB] [--jobs 2] [--again] [--quick] [--publish]
 *
 *   --only     marks whose name or file has this in it
 *   --suite    look through these test files, and no others
 *   --again    also marks whose result is known and whose file is as it was then
 *   --quick    try only what killed a mutant before, no further suites
 *   --publish  write docs/mutation.md; what was not tried since its file changed stays there as it was
 */
import fs from "node:fs";
import { parseArgs } from "node:util";
import { idOf, type Mark, marksIn } from "./marks.ts";
import { type Killer, Results } from "./results.ts";
import { Trees } from "./trees.ts";

/** Where tests are looked for, in this order. Not in what is random, nor in what reads the source. */
const SUITES = [
  "test/faults/{order,record}.test.ts",
  "test/{lineage,mirror}/*.test.ts",
  "test/faults/{late,readers,replica-disk,primary-disk}.test.ts",
  "test/regressions/*.test.ts",
  "test/faults/{other-program,checkpoint,start}.test.ts",
  "test/start/*.test.ts",
  "test/{faults,wal}/*.test.ts",
  "test/{dropin/*,*}.test.ts",
  "test/degrade/*.test.ts",
  "test/{replica,neighbours,scrub,serve}/*.test.ts",
  "test/{stream,standby}/*.test.ts",
  "test/powercut/*.test.ts",
];
const RANDOM = /sweep|random|package|shown|tidy/;

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    suite: { type: "string" },
    jobs: { type: "string", default: "2" },
    again: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    publish: { type: "boolean", default: false },
  },
});

const trees = new Trees();
const results = new Results(trees.unharmed);
/** Which files have been tried on a mutant. */
const triedOn = new Map<string, Set<string>>();
/** Tests that were seen to pass where nothing was removed. */
const sound = new Map<string, Promise<boolean>>();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    trees.remove();
    process.exit(1);
  });
}
try {
  process.exitCode = (await main()) ? 0 : 1;
} finally {
  trees.remove();
}

async function main(): Promise<boolean> {
  const all = marksIn(trees.unharmed);
  const wanted = all.filter((mark) => idOf(mark).includes(values.only));
  const known = (mark: Mark) => !values.again && Boolean(results.of(mark)?.killer);
  const todo = wanted.filter((mark) => !known(mark));
  console.log(`${wanted.length} of ${all.length} mutations, ${todo.length} to be tried`);
  let left = await round(todo, (mark) => lastKiller(mark));
  const suites = values.suite ? [values.suite] : SUITES;
  for (const suite of values.quick ? [] : suites) left = await round(left, () => filesOf(suite));
  const survivors = wanted.filter((mark) => !results.of(mark)?.killer);
  console.log(`${wanted.length - survivors.length} killed, ${survivors.length} survive`);
  for (const mark of survivors) console.log(`  ${mark.file}:${mark.line} ${idOf(mark)}`);
  if (values.publish) results.publish(all);
  return survivors.length === 0;
}

/** One test, or all of a file. */
interface Tests {
  readonly file: string;
  readonly only?: string;
}

/** Tries these tests on each of the mutants; those that survive. */
async function round(marks: readonly Mark[], testsFor: (mark: Mark) => Tests[]): Promise<Mark[]> {
  const left: Mark[] = [];
  let next = 0;
  const job = async (_: unknown, place: number): Promise<void> => {
    for (let mark = marks[next++]; mark; mark = marks[next++]) {
      if (!(await attempt(mark, testsFor(mark), place))) left.push(mark);
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, job));
  return left;
}

/** Makes the mutant, and keeps what came out. @returns whether it was killed */
async function attempt(mark: Mark, tests: readonly Tests[], place: number): Promise<boolean> {
  const tree = tests.length > 0 ? trees.without(mark, place) : "";
  const seen = triedOn.get(idOf(mark)) ?? new Set<string>();
  triedOn.set(idOf(mark), seen);
  let found: Found | null = null;
  for (const { file, only } of tests) {
    if (found || seen.has(file)) continue;
    if (!only) seen.add(file);
    found = await kill(tree, file, only);
  }
  const { killer = null, seconds = 0 } = found ?? {};
  results.keep(mark, { killer, seconds });
  if (!found) return false;
  const where = `${mark.file}:${mark.line} ${mark.name} (${mark.what})`;
  console.log(`${where}, ${seconds.toFixed(1)} s\n    ${killer?.file}: ${killer?.test}`);
  console.log(`    ${found.message}`);
  return true;
}

function lastKiller(mark: Mark): Tests[] {
  const last = results.lastKiller(mark);
  return last ? [{ file: last.file, only: last.test }] : [];
}

function filesOf(suite: string): Tests[] {
  const files = fs.globSync(suite, { cwd: trees.unharmed }).sort();
  return files.filter((file) => !RANDOM.test(file)).map((file) => ({ file }));
}

interface Found {
  readonly killer: Killer;
  readonly seconds: number;
  readonly message: string;
}

/** The test in a file that fails without the line and passes with it. */
async function kill(tree: string, file: string, only?: string): Promise<Found | null> {
  const began = performance.now();
  const failure = await trees.firstFailure(tree, file, only);
  const seconds = (performance.now() - began) / 1000;
  if (!failure) return null;
  const { test, message } = failure;
  if (await isSound(file, test)) return { killer: { file, test }, seconds, message };
  console.log(`proves nothing, for it fails as it is: ${file}: ${test}`);
  return null;
}

function isSound(file: string, test: string): Promise<boolean> {
  const id = `${file}: ${test}`;
  let known = sound.get(id);
  if (!known) {
    known = trees.firstFailure(trees.unharmed, file, test).then((failure) => failure === null);
    sound.set(id, known);
  }
  return known;
}
