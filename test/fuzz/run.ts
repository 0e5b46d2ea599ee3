/**
 * `npm run fuzz -- --seconds N --seed S [--target T]`: each target in a process of its own, one after
 * the other. Input after input is written down before it is tried, so that one that crashes or hangs
 * the process is known as well: `--input FILE` tries it again.
 */
import { fork } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { deserialize, serialize } from "node:v8";
import type { FuzzReport } from "./fuzzer.ts";
import { fuzz } from "./fuzzer.ts";
import { type TargetName, targetNames, withTarget } from "./targets.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    target: { type: "string" },
    input: { type: "string" },
    /** How long one input may take, in milliseconds: far more than any does on a busy machine. */
    hung: { type: "string", default: "120000" },
    /** Internal: this process is the one that tries. */
    trying: { type: "string" },
  },
});
const seed = Number(values.seed);
const seconds = Number(values.seconds);
const hungMs = Number(values.hung);

if (values.trying !== undefined) await tryAll(values.trying as TargetName, String(values.input));
else if (values.input !== undefined) await tryOne(values.input);
else await runAll();

async function runAll(): Promise<void> {
  const wanted = values.target === undefined ? targetNames : [values.target as TargetName];
  console.log(`${wanted.join(", ")}: ${seconds} s, seed ${seed}`);
  for (const name of wanted) {
    const input = path.join(os.tmpdir(), `lockstep-fuzz-${name}-${process.pid}`);
    const failure = await runOne(name, input);
    if (failure === null) fs.rmSync(input, { force: true });
    else {
      process.exitCode = 1;
      console.log(`${failure}\n  npm run fuzz -- --target ${name} --seed ${seed}`);
      console.log(`  npm run fuzz -- --target ${name} --input ${input}`);
    }
  }
}

/** What went wrong, or null. */
function runOne(name: TargetName, input: string): Promise<string | null> {
  return new Promise((resolve) => {
    const share = values.target === undefined ? seconds / targetNames.length : seconds;
    const options = ["--trying", name, "--seed", `${seed}`, "--seconds", `${share}`];
    const child = fork(import.meta.filename, [...options, "--input", input], {
      execArgv: ["--no-warnings"],
    });
    let failure: string | null = "it said nothing";
    const hung = setInterval(() => {
      const written = fs.statSync(input, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
      if (Date.now() - written < hungMs) return;
      failure = `${name}: an input took more than ${hungMs} ms`;
      child.kill("SIGKILL");
    }, 250);
    child.on("message", ({ report, error }: Said) => {
      failure = error ?? null;
      if (report) console.log(`${name}: ${told(report)}`);
    });
    child.on("close", (code, signal) => {
      clearInterval(hung);
      resolve(code === 0 ? failure : `${name}: ${failure}; it ended with ${signal ?? code}`);
    });
  });
}

interface Said {
  readonly report?: FuzzReport;
  readonly error?: string;
}

async function tryAll(name: TargetName, file: string): Promise<void> {
  const said = await withTarget(name, async (target): Promise<Said> => {
    try {
      const onCase = (input: unknown): void => fs.writeFileSync(file, serialize(input));
      return { report: await fuzz(target, { seed, ms: seconds * 1000, onCase }) };
    } catch (error) {
      return { error: `${(error as Error).message}\n${((error as Error).cause as Error).stack}` };
    }
  });
  process.send?.(said);
  process.disconnect?.();
}

async function tryOne(file: string): Promise<void> {
  if (values.target === undefined) throw new Error("--input needs --target");
  await withTarget(values.target as TargetName, async (target) => {
    await target.check(deserialize(fs.readFileSync(file)));
  });
  console.log("it holds");
}

function told({ cases, kept, features }: FuzzReport): string {
  const guided = features > 0 ? `, ${features} features of ${kept} inputs` : "";
  return `${cases} cases${guided}, nothing found`;
}
