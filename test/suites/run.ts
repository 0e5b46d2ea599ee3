/**
 * `npm run test:suites`: the drivers' own public tests, once with the original and once with our
 * drop-in, a replica attached wherever a test opens a file.
 *
 *   --from DIR     use checkouts that are there: DIR/better-sqlite3, DIR/node
 *   --only NAME    better-sqlite3 or node
 *   --files-only   give in-memory databases a file and a replica as well (some tests mind)
 *   --keep         leave everything in the temporary directory
 *   --verbose      whole errors
 *
 * Printed is each test that passes with the original and fails with ours, and why that is as it
 * must be. A test that fails without such a reason, or copies that differ at the end, fail the run.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fetchBetterSqlite3, fetchNode, installTools } from "./fetch.ts";
import { reasonFor } from "./reasons.ts";
import type { Outcome } from "./reporter.ts";
import { ending, runMocha, runNodeTests, type Surroundings, verdictsIn } from "./runners.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string" },
    keep: { type: "boolean", default: false },
    "files-only": { type: "boolean", default: false },
    only: { type: "string" },
    verbose: { type: "boolean", default: false },
  },
});

if (values["files-only"]) process.env["SUITE_FILES_ONLY"] = "1";
const directory = mkdtempSync(join(tmpdir(), "lockstep-suites-"));
try {
  let unexplained = 0;
  if (values.only !== "node") {
    const suite = fetchBetterSqlite3(directory, values.from);
    const modules = installTools(directory);
    unexplained += compare(suite.name, (how) => runMocha(suite.directory, modules, how));
  }
  if (values.only !== "better-sqlite3") {
    const suite = fetchNode(directory, values.from);
    unexplained += compare(suite.name, (how) => runNodeTests(suite.directory, how));
  }
  process.exitCode = unexplained === 0 ? 0 : 1;
} finally {
  if (values.keep) console.log(`Kept: ${directory}`);
  else rmSync(directory, { recursive: true, force: true });
}

/** Runs a suite both ways and prints the difference; returns how much of it has no reason. */
function compare(name: string, run: (how: Surroundings | null) => Outcome[]): number {
  const original = run(null);
  const surroundings = {
    replicas: join(directory, name, "replicas"),
    pairs: join(directory, name, "pairs"),
  };
  for (const path of Object.values(surroundings)) mkdirSync(path, { recursive: true });
  const ours = new Map(run(surroundings).map((outcome) => [outcome.name, outcome]));

  const passed = original.filter(({ ok }) => ok);
  const broken = passed.filter((test) => !ours.get(test.name)?.ok);
  console.log(`\n${name}`);
  console.log(`  passed with the original   ${passed.length} of ${original.length}`);
  console.log(`  of these with Lockstep     ${passed.length - broken.length}`);
  for (const test of original.filter(({ ok }) => !ok)) {
    console.log(`\n  fails with the original: ${test.name}\n    ${headline(test.error)}`);
  }
  // What did not run because its file ended early is told, once, by that file's own entry.
  const missing = broken.filter(({ name }) => !ours.has(name));
  const endedEarly = (name: string) =>
    ours.get(`${name.split(" › ")[0]} › ${ending}`)?.ok === false;
  let unexplained = missing.filter(({ name }) => !endedEarly(name)).length;
  if (missing.length > 0) console.log(`  did not run with Lockstep   ${missing.length}`);
  for (const test of broken) {
    const error = ours.get(test.name)?.error;
    if (error == null) continue;
    const reason = reasonFor(test.name, error);
    if (reason === null) unexplained++;
    console.log(`\n  ${reason === null ? "FAILS" : "differs"}: ${test.name}`);
    const whole = values.verbose || reason === null;
    console.log(`    ${whole ? error.replaceAll("\n", "\n    ") : headline(error)}`);
    if (reason !== null) console.log(`    reason: ${reason}`);
  }

  const verdicts = verdictsIn(surroundings.pairs);
  const different = verdicts.filter(({ identical }) => !identical);
  console.log(`\n  copies compared at the end   ${verdicts.length}, different ${different.length}`);
  for (const { primary, error } of different) console.log(`    ${primary} ${error ?? ""}`);
  return unexplained + different.length;
}

function headline(error: string | null): string {
  return error?.split("\n").find((line) => line.trim() !== "") ?? "";
}
