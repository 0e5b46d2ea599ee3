/**
 * Goal: every line on which durability rests has a test that fails when it is removed.
 * Method: such lines are marked in the source,
 *
 *     // durable: NAME                  the statement on this line, or after a comment of its own
 *     // durable, in this order: NAME   that statement and the one after it: also exchanged
 *
 * In a copy of the tree each is removed, and those in an order are exchanged, one at a time, and
 * tests run until one fails. What survives has no test.
 *
 *   npm run test:mutation [-- PART OF A NAME …]
 */
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "../..");

/** In this order; the first that fails ends it. */
const SUITES = [
  "test/faults/{order,record}.test.ts",
  "test/faults/{late,readers,replica-disk,primary-disk,start}.test.ts",
  "test/faults/{other-program,checkpoint,worker,hang}.test.ts",
  "test/{start,lineage,regressions}/*.test.ts",
  "test/powercut/*.test.ts",
];

interface Mark {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  readonly what: "removed" | "exchanged";
}

if (import.meta.main) {
  const wanted = process.argv.slice(2);
  const place = fs.mkdtempSync(join(os.tmpdir(), "lockstep-mutation-"));
  try {
    copyTree(place);
    const marks = marksIn(join(place, "src")).filter(
      ({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
    );
    process.exitCode = (await run(place, marks)) ? 0 : 1;
  } finally {
    fs.rmSync(place, { recursive: true, force: true });
  }
}

async function run(place: string, marks: readonly Mark[]): Promise<boolean> {
  const unharmed = await firstFailure(place);
  if (unharmed !== null) throw new Error(`it fails as it is: ${unharmed}`);
  let survivors = 0;
  for (const mark of marks) {
    const path = join(place, mark.file);
    const source = fs.readFileSync(path, "utf8");
    fs.writeFileSync(path, mutate(source, mark));
    const killer = await firstFailure(place);
    fs.writeFileSync(path, source);
    if (killer === null) survivors++;
    const line = `${mark.file}:${mark.line}`.padEnd(32);
    console.log(`${line} ${mark.name} (${mark.what})\n    ${killer ?? "SURVIVES"}`);
  }
  console.log(`${marks.length} mutations, ${survivors} survive`);
  return survivors === 0;
}

function copyTree(place: string): void {
  const { stdout } = spawnSync("git", ["ls-files", "-co", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  for (const name of stdout.split("\n")) {
    if (name === "" || !fs.existsSync(join(root, name))) continue;
    fs.cpSync(join(root, name), join(place, name));
  }
  fs.symlinkSync(join(root, "node_modules"), join(place, "node_modules"));
}

/** The marked statements below `directory`. */
function marksIn(directory: string): Mark[] {
  const marks: Mark[] = [];
  for (const name of fs.globSync("**/*.ts", { cwd: directory }).sort()) {
    const lines = fs.readFileSync(join(directory, name), "utf8").split("\n");
    for (const [i, text] of lines.entries()) {
      const [, order, name_] = /\/\/ durable(, in this order)?: (.+)$/.exec(text) ?? [];
      if (name_ === undefined) continue;
      const line = /^\s*\/\//.test(text) ? i + 2 : i + 1;
      const mark = { file: join("src", name), line, name: name_ };
      marks.push({ ...mark, what: "removed" });
      if (order) marks.push({ ...mark, what: "exchanged" });
    }
  }
  return marks;
}

function mutate(source: string, { line, what }: Mark): string {
  const lines = source.split("\n");
  const first = line - 1;
  const end = endOf(lines, first);
  const statement = lines.splice(first, end - first);
  if (what === "exchanged") {
    lines.splice(endOf(lines, nextCode(lines, first)), 0, ...statement);
  }
  return lines.join("\n");
}

/** The line after the statement that begins at `start`: its brackets are closed, and it is ended. */
function endOf(lines: readonly string[], start: number): number {
  let depth = 0;
  for (let i = start; i < lines.length; i++) {
    const code = (lines[i] as string).replace(/\/\/ .*$/, "").trimEnd();
    for (const character of code) {
      if ("([{".includes(character)) depth++;
      if (")]}".includes(character)) depth--;
    }
    if (depth === 0 && /[;}]$/.test(code)) return i + 1;
  }
  throw new Error(`no end of the statement at line ${start + 1}`);
}

function nextCode(lines: readonly string[], from: number): number {
  let i = from;
  while (/^\s*(\/\/|$)/.test(lines[i] as string)) i++;
  return i;
}

/** Runs the suites in turn; the name of the first test that fails, or null. */
async function firstFailure(place: string): Promise<string | null> {
  for (const pattern of SUITES) {
    const files = fs.globSync(pattern, { cwd: place }).sort();
    if (files.length === 0) continue;
    const failure = await firstFailureIn(place, files);
    if (failure !== null) return failure;
  }
  return null;
}

function firstFailureIn(place: string, files: readonly string[]): Promise<string | null> {
  const options = ["--test-reporter=tap", "--test-concurrency=2", "--test-timeout=120000"];
  const child = spawn(process.execPath, ["--test", ...options, ...files], {
    cwd: place,
    env: {
      ...process.env,
      NODE_TEST_CONTEXT: undefined,
      NODE_COMPILE_CACHE: join(place, "node_modules/.cache/lockstep/compiled"),
    },
    stdio: ["ignore", "pipe", "ignore"],
    detached: true, // with the processes of its tests it is a group that can be ended
  });
  let failure: string | null = null;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const [, name] = /^\s*not ok \d+ - (.+)$/.exec(line) ?? [];
    if (name === undefined || failure !== null) return;
    failure = name;
    process.kill(-(child.pid as number), "SIGTERM");
  });
  return new Promise((resolve) => child.on("close", () => resolve(failure)));
}
