/**
 * Which Lockstep the processes of a test load: the sources, or, in the long runs, what is installed:
 * JavaScript. It is what users have, and a thread starts in half the time if no types are stripped.
 */
import { execFileSync } from "node:child_process";
import path from "node:path";
import type * as Better from "../../src/better-sqlite3.ts";
import type * as Node from "../../src/index.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const INSTALLED = "LOCKSTEP_TEST_INSTALLED";

/** For this process and those that it starts. Builds it first. */
export function useInstalled(): void {
  execFileSync("npm", ["run", "-s", "build"], { cwd: ROOT, stdio: "inherit" });
  process.env[INSTALLED] = "1";
  process.env["NODE_COMPILE_CACHE"] ??= path.join(ROOT, "node_modules/.cache/lockstep/compiled");
}

export const nodeSqlite = (): Promise<typeof Node> => load("index");
export const betterSqlite3 = (): Promise<typeof Better> => load("better-sqlite3");

function load<Module>(name: string): Promise<Module> {
  const file = process.env[INSTALLED] ? `dist/${name}.js` : `src/${name}.ts`;
  return import(path.join(ROOT, file)) as Promise<Module>;
}
