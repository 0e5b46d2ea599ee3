/**
 * Loaded before a suite's own files (NODE_OPTIONS=--import): what they ask for as the driver is our
 * drop-in, with a replica wherever they open a file. At the end every pair is compared.
 */
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isMainThread } from "node:worker_threads";
import { pairs } from "./attach.ts";

const directory = process.env["SUITE_DIRECTORY"] ?? "";
const suite = pathToFileURL(directory).href;

/** What the suite's own files get for the driver. */
const dropIns: Record<string, string> = {
  "node:sqlite": join(import.meta.dirname, "as-node-sqlite.ts"),
  "../.": join(import.meta.dirname, "as-better-sqlite3.ts"),
};
/** What our drop-in gets for better-sqlite3: the library that the suite came with. */
const original = join(directory, "lib", "index.js");

registerHooks({
  resolve(specifier, { parentURL, ...context }, next) {
    const inSuite = parentURL?.startsWith(suite);
    const instead = inSuite ? dropIns[specifier] : specifier === "better-sqlite3" && original;
    return next(instead || specifier, { parentURL, ...context });
  },
});

/** In a process of its own: to read a database's file here would drop this process's locks. */
export function comparePairs(): void {
  const present = [...pairs].filter(([a, b]) => existsSync(a) && existsSync(b));
  if (present.length === 0) return;
  const list = join(process.env["SUITE_PAIRS"] ?? "", `${process.pid}-${Date.now()}.json`);
  writeFileSync(list, JSON.stringify(present));
  const script = join(import.meta.dirname, "compare.ts");
  const env = { ...process.env, NODE_OPTIONS: "" };
  spawnSync(process.execPath, [script, list], { stdio: "inherit", env });
}

// Registered before the suite's own handler, which removes the files.
if (isMainThread) process.on("exit", comparePairs);

/** For mocha, whose files are removed before the process ends. */
export const mochaHooks = { afterAll: comparePairs };
