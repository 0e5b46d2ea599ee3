/** Opening: what is the driver's alone, what is refused, and in whose words. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import type { DriverName } from "../../src/driver.ts";
import { contentsOf, scratch } from "../scratch.ts";
import { type Any, drivers, dropIns, originals, Pair } from "./pair.ts";

const readOnly: Record<DriverName, object> = {
  "node:sqlite": { readOnly: true },
  "better-sqlite3": { readonly: true },
};

function outcome(Database: Any, args: unknown[], directory: string): string {
  try {
    const db = new Database(...args);
    const looks = inspect(db, { getters: true });
    db.close();
    return looks.replaceAll(directory, "DIR");
  } catch (error) {
    const { name, code, message } = error as NodeJS.ErrnoException;
    return `${name} ${code} ${message}`.replaceAll(directory, "DIR");
  }
}

describe("arguments that the driver refuses are refused in its words, and nothing is made", () => {
  const wrongOptions: Record<DriverName, object[]> = {
    "node:sqlite": [{ open: 1 }, { readOnly: 1 }, { timeout: "x" }, { limits: 5 }],
    "better-sqlite3": [
      ...[{ readOnly: true }, { memory: true }, { readonly: 1 }, { fileMustExist: 1 }],
      ...[{ timeout: -1 }, { timeout: 2 ** 31 }, { verbose: 1 }, { journalFd: 3 }],
      ...[{ fileMustExist: true }],
    ],
  };
  for (const driver of drivers) {
    test(driver, (t) => {
      const directory = scratch(t);
      const file = path.join(directory, "app.db");
      const replicas = [path.join(directory, "copy.db")];
      const calls: unknown[][] = [
        ...[undefined, null, 5.5, -1, true, {}, [], Symbol.iterator, new URL("http://host/a")].map(
          (location) => [location, { replicas }],
        ),
        ...wrongOptions[driver].map((options) => [file, { ...options, replicas }]),
        [path.join(directory, "missing", "app.db"), { replicas }],
        [file, { ...readOnly[driver], replicas }],
        [file, 5],
        [],
      ];
      for (const args of calls) {
        const expected = outcome(originals[driver], args, directory);
        if (args[0] === undefined || args[0] === null) {
          assert.equal(outcome(dropIns[driver], args, directory), expected, inspect(args));
          continue; // a temporary database, with one of the drivers
        }
        if (args[0] !== 5.5) assert.match(expected, /Error/, inspect(args));
        if (typeof args[0] === "number" && driver === "better-sqlite3") continue;
        assert.equal(outcome(dropIns[driver], args, directory), expected, inspect(args));
      }
      assert.deepEqual(fs.readdirSync(directory), []);
    });
  }
});

describe("without `new`", () => {
  test("node:sqlite", () =>
    assert.throws(() => dropIns["node:sqlite"](":memory:"), {
      code: "ERR_CONSTRUCT_CALL_REQUIRED",
    }));

  test("better-sqlite3", (t) => {
    const pair = new Pair(t, "better-sqlite3");
    const plain = dropIns["better-sqlite3"](":memory:");
    assert.ok(plain instanceof originals["better-sqlite3"]);
    assert.equal(plain.replication, null);
    const db = dropIns["better-sqlite3"](pair.primary, { replicas: [pair.replica] });
    assert.ok(db.replication);
    db.close();
  });
});

for (const driver of drivers) {
  const isNode = driver === "node:sqlite";
  const Database = dropIns[driver];

  describe(`${driver}: what is the driver's alone`, () => {
    test("opening without replicas touches nothing", (t) => {
      const directory = scratch(t);
      const file = path.join(directory, "app.db");
      const before = new originals[driver](file);
      before.exec("PRAGMA journal_mode=DELETE; CREATE TABLE t (x)");
      before.close();
      const contents = contentsOf(directory);
      const db = new Database(file);
      assert.deepEqual(contentsOf(directory), contents);
      assert.equal(db.replication, null);
      assert.equal(db.prepare("PRAGMA journal_mode").get().journal_mode, "delete");
      db.close();
      assert.deepEqual(contentsOf(directory), contents);
    });

    test("in memory, temporary and read-only, though replicas are named", (t) => {
      const directory = scratch(t);
      const file = path.join(directory, "app.db");
      new originals[driver](file).close();
      const replicas = [path.join(directory, "copy.db")];
      const calls: unknown[][] = [
        [":memory:", { replicas }],
        ["", { replicas }],
        [file, { ...readOnly[driver], replicas }],
        [`sqlite3://${file}:${replicas}`, readOnly[driver]],
        ["sqlite3://%3Amemory%3A", { replicas }],
      ];
      const uri = pathToFileURL(file).href;
      if (isNode) {
        for (const query of ["mode=ro", "mode=memory", "immutable=1"]) {
          calls.push([`${uri}?${query}`, { replicas }], [new URL(`${uri}?${query}`), { replicas }]);
        }
        calls.push(["file::memory:", { replicas }], [Buffer.from(":memory:"), { replicas }]);
      } else {
        const bytes = new originals[driver](":memory:").serialize();
        calls.push([" :memory: ", { replicas }], [undefined, { replicas }], [bytes, { replicas }]);
      }
      for (const args of calls) {
        const db = new Database(...args);
        assert.equal(db.replication, null, inspect(args));
        db.close();
      }
      assert.deepEqual(fs.readdirSync(directory), ["app.db"]);
    });

    test("what cannot be replicated says why", (t) => {
      const directory = scratch(t);
      const file = path.join(directory, "app.db");
      const replicas = [path.join(directory, "copy.db")];
      const uri = pathToFileURL(file).href;
      const calls: [location: unknown, options: object, why: RegExp][] = isNode
        ? [
            [`${uri}?vfs=unix-none`, {}, /sets vfs=unix-none/],
            [`${uri}?nolock=1`, {}, /sets nolock=1/],
            [new URL(`${uri}?cache=shared`), {}, /sets cache=shared/],
            ["file://host/app.db", {}, /names another machine, host/],
            ["file:%zz", {}, /percent sign/],
          ]
        : [
            [uri, {}, /is a URI, which better-sqlite3 takes for a file's name/],
            [3, { journalFd: 4 }, /descriptor 3.*has no path/],
            [file, { nativeBinding: "x.node" }, /does not see the locks/],
          ];
      for (const [location, options, why] of calls) {
        const refused = { code: "ERR_LOCKSTEP_BAD_OPTION", message: why };
        assert.throws(() => new Database(location, { ...options, replicas }), refused);
      }
      assert.deepEqual(fs.readdirSync(directory), []);
    });
  });
}

test("require() returns what the driver's returns", () => {
  const require = createRequire(import.meta.url);
  const Database = require("../../src/better-sqlite3.ts");
  assert.equal(Database, dropIns["better-sqlite3"]);
  assert.equal(Database.SqliteError, originals["better-sqlite3"].SqliteError);
  const sqlite = require("../../src/index.ts");
  for (const name of Object.keys(require("node:sqlite"))) assert.ok(name in sqlite, name);
  assert.equal(sqlite.StatementSync, require("node:sqlite").StatementSync);
});
