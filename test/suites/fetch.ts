/**
 * Brings the drivers' own public tests into a temporary directory. They are not ours: nothing of
 * them is kept. `--from DIR` uses checkouts that are already there: DIR/better-sqlite3, DIR/node.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const betterUrl = "https://github.com/WiseLibs/better-sqlite3";
const nodeUrl = "https://github.com/nodejs/node";

const installed = dirname(createRequire(import.meta.url).resolve("better-sqlite3/package.json"));
const { version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));

export interface Suite {
  readonly name: string;
  /** The directory that holds its `test`. */
  readonly directory: string;
}

/** The tests of the installed version, around the installed library. */
export function fetchBetterSqlite3(into: string, from: string | undefined): Suite {
  const directory = join(into, "better-sqlite3");
  if (from) copy(join(from, "better-sqlite3"), directory, ["test", "package.json"]);
  else clone(betterUrl, `v${version}`, directory, ["/test/", "/package.json"]);
  for (const part of ["lib", "prebuilds"]) {
    cpSync(join(installed, part), join(directory, part), { recursive: true });
  }
  buildExtras(directory);
  return { name: `better-sqlite3 ${version}`, directory };
}

export function fetchNode(into: string, from: string | undefined): Suite {
  const directory = join(into, "node");
  const parts = ["test/common", "test/parallel", "test/sqlite"];
  if (from) copy(join(from, "node"), directory, parts);
  else {
    const patterns = ["/test/common/", "/test/parallel/test-sqlite*", "/test/sqlite/"];
    clone(nodeUrl, process.version, directory, [...patterns, "/test/fixtures/sqlite/"]);
  }
  return { name: `node ${process.version}`, directory };
}

/** mocha and chai are for this run only: they are no dependency of the package. */
export function installTools(into: string): string {
  const directory = join(into, "tools");
  mkdirSync(directory);
  const packages = ["mocha@11", "chai@4", "fs-extra@11"];
  execFileSync("npm", ["install", "--silent", "--no-save", "--prefix", directory, ...packages], {
    stdio: "inherit",
  });
  return join(directory, "node_modules");
}

function clone(url: string, tag: string, directory: string, patterns: string[]): void {
  const git = (...args: string[]) => execFileSync("git", args, { stdio: "inherit" });
  const shallow = ["--quiet", "--depth=1", "--filter=blob:none", "--sparse"];
  git("clone", ...shallow, "-c", "advice.detachedHead=false", "--branch", tag, url, directory);
  git("-C", directory, "sparse-checkout", "set", "--no-cone", ...patterns);
}

function copy(from: string, to: string, parts: string[]): void {
  for (const part of parts) cpSync(join(from, part), join(to, part), { recursive: true });
}

/** Two tests load what a build leaves behind: the addon, and an extension written in C. */
function buildExtras(directory: string): void {
  const release = join(directory, "build", "Release");
  mkdirSync(release, { recursive: true });
  const addon = join(installed, "prebuilds", `${process.platform}-${process.arch}.node`);
  if (existsSync(addon)) cpSync(addon, join(release, "better_sqlite3.node"));
  const source = join(installed, "deps", "test_extension.c");
  const headers = join(installed, "deps", "sqlite3");
  const target = join(release, "test_extension.node");
  spawnSync("cc", ["-shared", "-fPIC", `-I${headers}`, source, "-o", target], { stdio: "inherit" });
}
