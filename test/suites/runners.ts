/** Runs a suite's files with their own test runner, and collects each test's outcome. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Verdict } from "./compare.ts";
import type { Outcome } from "./reporter.ts";

/** Where a run with our drop-ins keeps the replicas and the lists of pairs. */
export interface Surroundings {
  readonly replicas: string;
  readonly pairs: string;
}

const redirect = join(import.meta.dirname, "redirect.ts");
const reporter = join(import.meta.dirname, "reporter.ts");

/** `how` is null for the original driver. */
export function runMocha(directory: string, modules: string, how: Surroundings | null): Outcome[] {
  const results = join(directory, "results.json");
  rmSync(results, { force: true });
  const mocha = join(modules, "mocha", "bin", "mocha.js");
  const reporting = ["--reporter", "json", "--reporter-option", `output=${results}`];
  const hooks = how ? ["--require", redirect] : [];
  spawnSync(process.execPath, [mocha, "--exit", "--timeout=20000", ...reporting, ...hooks], {
    cwd: directory,
    env: { ...environment(directory, how), NODE_PATH: modules },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const { tests } = JSON.parse(readFileSync(results, "utf8")) as { tests: MochaTest[] };
  return tests.map(({ fullTitle, err }) => {
    const failed = Object.keys(err).length > 0;
    return {
      name: fullTitle,
      ok: !failed,
      error: failed ? (err.stack ?? err.message ?? "") : null,
    };
  });
}

interface MochaTest {
  readonly fullTitle: string;
  readonly err: { readonly message?: string; readonly stack?: string };
}

/** The name of what is asked of a file besides its tests. */
export const ending = "ends with exit code 0";

/** Each file is run by itself, with the flags that its first lines ask for. */
export function runNodeTests(directory: string, how: Surroundings | null): Outcome[] {
  const tests = join(directory, "test", "parallel");
  const files = readdirSync(tests).filter((name) => /^test-sqlite.*\.m?js$/.test(name));
  return files.flatMap((file) => {
    const path = join(tests, file);
    const flags = /^\/\/ Flags: (.*)$/m.exec(readFileSync(path, "utf8"))?.[1]?.split(/\s+/) ?? [];
    const options = [...flags, `--test-reporter=${reporter}`, "--test-reporter-destination=stdout"];
    const { stdout, stderr, status } = spawnSync(process.execPath, [...options, path], {
      cwd: directory,
      env: environment(directory, how),
      encoding: "utf8",
      timeout: 300_000,
    });
    const outcomes = stdout
      .split("\n")
      .filter((line) => line.startsWith('{"name":'))
      .map((line) => JSON.parse(line) as Outcome)
      .map((outcome) => ({ ...outcome, name: `${file} › ${outcome.name}` }));
    const ok = status === 0 || outcomes.some((outcome) => !outcome.ok);
    return [
      ...outcomes,
      { name: `${file} › ends with exit code 0`, ok, error: ok ? null : stderr },
    ];
  });
}

function environment(directory: string, how: Surroundings | null): NodeJS.ProcessEnv {
  if (!how) return process.env;
  return {
    ...process.env,
    NODE_OPTIONS: `--import=${redirect}`,
    SUITE_DIRECTORY: directory,
    SUITE_REPLICAS: how.replicas,
    SUITE_PAIRS: how.pairs,
  };
}

export function verdictsIn(pairs: string): Verdict[] {
  return readdirSync(pairs).flatMap((name) => JSON.parse(readFileSync(join(pairs, name), "utf8")));
}
