/** How a process ends: what it never closed is closed at its exit, and what it prints is its own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { requireNode } from "../../src/node-version.ts";
import { scratch } from "../scratch.ts";
import { assertAtRest, readAtRest } from "../support/files.ts";
import { drivers, Pair } from "./pair.ts";

const entries = {
  "node:sqlite": path.resolve(import.meta.dirname, "../../src/index.ts"),
  "better-sqlite3": path.resolve(import.meta.dirname, "../../src/better-sqlite3.ts"),
};

/** Runs a program that has the drop-in as `Database`. */
function run(entry: string, code: string, ...args: string[]) {
  const program = `
    const lockstep = await import(${JSON.stringify(entry)});
    const Database = lockstep.DatabaseSync ?? lockstep.default;
    ${code}`;
  const flags = ["--no-warnings", "--input-type=module", "-e", program, "--"];
  return spawnSync(process.execPath, [...flags, ...args], { encoding: "utf8" });
}

for (const driver of drivers) {
  const start = `
    const [, primary, replica] = process.argv;
    const db = new Database(primary, { replicas: [replica] });
    db.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)");`;

  describe(driver, () => {
    const programs: Record<string, { code: string; rows?: number; status?: number }> = {
      "without a close": { code: start },
      "by process.exit()": { code: `${start} process.exit(0)` },
      "in a transaction": { code: `${start} db.exec("BEGIN; INSERT INTO t VALUES (4)")` },
      "with two connections, one of them closed": {
        code: `${start} new Database(primary, { replicas: [replica] }).close()`,
      },
      "with a close in an exit handler": {
        code: `${start} process.on("exit", () => db.close())`,
      },
      "with a close in an earlier exit handler": {
        code: `process.on("exit", () => db.close()); ${start}`,
      },
      "by an exception": { code: `${start} throw new Error("its own")`, status: 1 },
    };
    for (const [name, { code, rows = 3, status = 0 }] of Object.entries(programs)) {
      test(`${name}: at rest`, (t) => {
        const pair = new Pair(t, driver);
        const child = run(entries[driver], code, pair.primary, pair.replica);
        if (status === 0) assert.equal(child.stderr, "");
        else assert.match(child.stderr, /its own/);
        assert.equal(child.status, status);
        assertAtRest(pair.primary, [pair.replica]);
        for (const copy of [pair.primary, pair.replica]) {
          const found = readAtRest(copy, (db) => db.prepare("SELECT count(*) AS n FROM t").get());
          assert.equal(found?.["n"], rows);
        }
      });
    }

    test("in the middle of a loop: everything is there, and nothing is printed", (t) => {
      const pair = new Pair(t, driver);
      const loop = `for (const _ of db.prepare("SELECT x FROM t").iterate()) process.exit(0)`;
      const child = run(entries[driver], `${start} ${loop}`, pair.primary, pair.replica);
      assert.deepEqual([child.stderr, child.status], ["", 0]);
      const db = pair.open();
      assert.equal(db.prepare("SELECT count(*) AS n FROM t").get().n, 3);
    });
  });
}

describe("loading", () => {
  test("a Node.js that is too old is told so", () => {
    for (const version of ["22.12.9", "20.20.2", "18.0.0", "0.12.1"]) {
      assert.throws(() => requireNode(version), {
        code: "ERR_LOCKSTEP_NODE_VERSION",
        message: new RegExp(`needs Node.js 22.13 or newer, this is ${version}`),
      });
    }
    for (const version of ["22.13.0", "22.20.1", "23.0.0", "26.10.0", "30.0.0-nightly"]) {
      requireNode(version);
    }
  });

  test("better-sqlite3 that is not installed is named, with the command", () => {
    const missing = `
      import { registerHooks } from "node:module";
      registerHooks({
        resolve(specifier, context, next) {
          if (!specifier.startsWith("better-sqlite3")) return next(specifier, context);
          const error = new Error("Cannot find module '" + specifier + "'");
          throw Object.assign(error, { code: "MODULE_NOT_FOUND" });
        },
      });
      await import(${JSON.stringify(entries["better-sqlite3"])});`;
    const { status, stderr } = spawnSync(
      process.execPath,
      ["--no-warnings", "--input-type=module", "-e", missing],
      { encoding: "utf8" },
    );
    assert.notEqual(status, 0);
    assert.match(stderr, /is not installed. Run: npm install better-sqlite3/);
  });

  test("better-sqlite3 is not needed for node:sqlite", (t) => {
    const file = path.join(fs.realpathSync(scratch(t)), "app.db");
    const code = `
      const db = new Database(${JSON.stringify(file)}, { replicas: [${JSON.stringify(`${file}2`)}] });
      db.close();
      const { createRequire } = await import("node:module");
      const loaded = Object.keys(createRequire("/")("node:module")._cache);
      if (loaded.some((name) => name.includes("better-sqlite3"))) throw new Error("loaded");`;
    const { status, stderr } = run(entries["node:sqlite"], code);
    assert.deepEqual([stderr, status], ["", 0]);
  });
});
