/**
 * `npm run lock -- [arguments of npm install]`: the one way to change package-lock.json.
 *
 * Three things in the lockfile are ours; npm would write them otherwise (test/tidy.test.ts checks them):
 *   1. What needs a newer Node than a machine may have has no `engines`. npm compares them with the Node that
 *      runs npm and warns, but nothing here runs under that Node: every script runs under the `node` of
 *      devDependencies.
 *   2. better-sqlite3 keeps its `gypfile: false`. npm does not record it, and then compiles a package
 *      that brings its binaries along, on machines that may have no compiler.
 *   3. No entry has `resolved`: each machine uses the registry it is configured for.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";

const install = spawnSync(
  "npm",
  ["install", "--save", "--omit-lockfile-registry-resolved", ...process.argv.slice(2)],
  { stdio: "inherit", shell: process.platform === "win32" },
);
if (install.status !== 0) process.exit(install.status ?? 1);

const path = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(fs.readFileSync(path, "utf8"));
const entry = lock.packages["node_modules/better-sqlite3"];
for (const name of ["better-sqlite3", "@nats-io/nuid"]) {
  delete lock.packages[`node_modules/${name}`].engines;
}
delete entry.hasInstallScript;
entry.gypfile = false;
for (const each of Object.values<{ resolved?: string }>(lock.packages)) delete each.resolved;
fs.writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
