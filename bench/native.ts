/** The programs in C: compiled when they are needed, into the run's scratch directory. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { basename, join } from "node:path";
import { type Figures, Unavailable } from "./workload.ts";

/** The preload library's path; see delay.c. */
export const delayLibrary = (scratch: string): string =>
  compiled("delay.c", scratch, ["-shared", "-fPIC", "-ldl"]);

/** Runs limit.c: `bytes` a commit, in one file in each of `directories`. */
export function limit(
  scratch: string,
  directories: readonly string[],
  bytes: number,
  commits: number,
): Figures {
  const program = compiled("limit.c", scratch, []);
  for (const directory of directories) mkdirSync(directory, { recursive: true });
  const args = [...directories, "--bytes", String(bytes), "--commits", String(commits)];
  return JSON.parse(execFileSync(program, args, { encoding: "utf8" })) as Figures;
}

function compiled(name: string, scratch: string, args: readonly string[]): string {
  const path = join(scratch, basename(name, ".c"));
  if (existsSync(path)) return path;
  const compiler = process.env["CC"] ?? "cc";
  const source = join(import.meta.dirname, name);
  const fresh = `${path}.${process.pid}`;
  const { error, status, stderr } = spawnSync(
    compiler,
    ["-O2", "-pthread", "-o", fresh, source, ...args],
    { encoding: "utf8", env: { ...process.env, LD_PRELOAD: "" } },
  );
  if (error) throw new Unavailable(`there is no C compiler (${compiler}) to build bench/${name}`);
  if (status !== 0) throw new Error(`bench/${name} does not compile: ${stderr}`);
  renameSync(fresh, path);
  return path;
}
