/**
 * What the first copy costs, against `cp` and `sync` of the same file; and what a later start
 * costs, when the copies are in step. They take turns; both read a file that is in the page cache.
 *
 * Usage: npm run bench:first-copy -- DATABASE... [--rounds 5] [--directory DIR] [--json FILE]
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { columns, figure, show } from "./figures.ts";
import { machine, trial } from "./trial.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    directory: { type: "string", default: tmpdir() },
    json: { type: "string" },
  },
});
if (positionals.length === 0) throw new Error("Give the paths of databases: they are only read");

interface Times {
  readonly cp: number[];
  readonly firstCopy: number[];
  readonly reopen: number[];
}

const results: Record<string, Times & { bytes: number }> = {};
for (const database of positionals) {
  const times: Times = { cp: [], firstCopy: [], reopen: [] };
  for (let round = 0; round < Number(values.rounds); round++) {
    const directory = mkdtempSync(join(values.directory, "lockstep-bench-"));
    measure(database, directory, round, times);
    rmSync(directory, { recursive: true });
    console.error(`${basename(database)}: round ${round + 1} of ${values.rounds}`);
  }
  results[database] = { bytes: statSync(database).size, ...times };
}

/** A primary of its own for each round: the first opening switches it to WAL mode. */
function measure(database: string, directory: string, round: number, times: Times): void {
  const path = (name: string) => join(directory, name);
  shell('cp "$1" "$2" && sync', database, path("primary.db"));
  const copyWithCp = () => {
    const before = performance.now();
    shell('cp "$1" "$2" && sync "$2"', path("primary.db"), path("cp.db"));
    times.cp.push(performance.now() - before);
    rmSync(path("cp.db"));
  };
  const open = () =>
    trial<{ ms: number }>("first-copy-trial.ts", path("primary.db"), path("replica.db")).ms;
  if (round % 2) copyWithCp();
  times.firstCopy.push(open());
  if (round % 2 === 0) copyWithCp();
  shell('cmp "$1" "$2"', path("primary.db"), path("replica.db"));
  for (let i = 0; i < 3; i++) times.reopen.push(open());
}

function shell(script: string, ...paths: string[]): void {
  execFileSync("sh", ["-c", script, "sh", ...paths], { stdio: ["ignore", "ignore", "inherit"] });
}

console.log(`\n  milliseconds, medians of ${values.rounds} rounds (min-max)\n`);
console.log(
  columns([
    ["", "MB", "cp + sync", "first copy", "ratio", "reopen in step"],
    ...Object.entries(results).map(([database, { bytes, cp, firstCopy, reopen }]) => [
      basename(database),
      (bytes / 1e6).toFixed(1),
      show(figure(cp)),
      show(figure(firstCopy)),
      `${(figure(firstCopy).median / figure(cp).median).toFixed(2)} x`,
      show(figure(reopen)),
    ]),
  ]),
);
const report = { ...machine(), rounds: Number(values.rounds), results };
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
