/** Opening: what is the driver's alone, what is replicated, what is refused, and in whose words. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { DriverName } from "../../src/driver.ts";
import { contentsOf, scratch } from "../scratch.ts";
import { assertAtRest } from "../support/files.ts";
import { type Any, drivers, dropIns, isOpen, originals, Pair } from "./pair.ts";

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

  describe(`${driver}: what is replicated`, () => {
    const opened = (db: Any, pair: Pair): void => {
      assert.equal(db.replication.status.replicas[0].path, pair.replica);
      db.exec("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1)");
      pair.assertInStep();
      db.close();
      assert.equal(db.replication, null);
      assertAtRest(pair.primary, [pair.replica]);
    };

    test("by option, by DSN, or both", (t) => {
      const pair = new Pair(t, driver);
      const { primary, replica } = pair;
      const dsn = `sqlite3://${primary}:${replica}`;
      const uri = pathToFileURL(primary).href;
      const calls: unknown[][] = [
        [primary, { replicas: [replica] }],
        [primary, { replicas: [{ path: replica }] }],
        [path.relative(process.cwd(), primary), { replicas: [path.relative("", replica)] }],
        [dsn],
        [`${dsn}?replicaTimeout=5000`, { replicaTimeout: 5000 }],
        [dsn, { replicas: [replica] }],
        [`sqlite3://${primary}`, { replicas: [replica] }],
        ...(isNode
          ? [
              [Buffer.from(dsn)],
              [new URL(dsn)],
              [Buffer.from(primary), { replicas: [replica] }],
              [pathToFileURL(primary), { replicas: [replica] }],
              [`${uri}?mode=rwc`, { replicas: [replica] }],
              [primary, { replicas: [replica], open: true }],
            ]
          : [
              [` ${dsn} `],
              [` ${primary} `, { replicas: [replica] }],
              [primary, { replicas: [replica], fileMustExist: true }],
            ]),
      ];
      for (const args of calls) opened(new Database(...args), pair);
    });

    test("a name with a colon, in a DSN", (t) => {
      const directory = fs.realpathSync(scratch(t));
      const [primary, replica] = ["a:b.db", "c?d%.db"].map((name) => path.join(directory, name));
      const encoded = [primary, replica].map((it) => encodeURIComponent(it as string)).join(":");
      const db = new Database(`sqlite3://${encoded}`);
      assert.equal(db.replication.status.replicas[0].path, replica);
      db.close();
      assertAtRest(primary as string, [replica as string]);
    });

    test("malformed and contradicting DSNs are refused, and nothing is made", (t) => {
      const directory = scratch(t);
      const file = path.join(directory, "app.db");
      const refused: [args: unknown[], code: string][] = [
        [[`sqlite3://${file}::`], "BAD_DSN"],
        [[`sqlite3:${file}`], "BAD_DSN"],
        [[`sqlite3://${file}:/b?durability=later`], "BAD_DSN"],
        [[`sqlite3://${file}:/b`, { replicas: ["/c"] }], "BAD_OPTION"],
        [[file, { replica: "/b" }], "BAD_OPTION"],
        [[":memory:", { replicas: [] }], "BAD_OPTION"],
      ];
      for (const [args, code] of refused) {
        assert.throws(() => new Database(...args), { code: `ERR_LOCKSTEP_${code}` }, inspect(args));
      }
      assert.deepEqual(fs.readdirSync(directory), []);
    });

    test("a class of the application's", (t) => {
      const pair = new Pair(t, driver);
      const sqls: string[] = [];
      class App extends Database {
        static count = 0;
        readonly name2 = "app";
        constructor(location: string, options?: object) {
          super(location, options);
          App.count++;
        }
        exec(sql: string) {
          sqls.push(sql);
          return super.exec(sql);
        }
      }
      const db: Any = new App(pair.primary, { replicas: [pair.replica] });
      assert.ok(db instanceof App && db instanceof Database && db instanceof originals[driver]);
      assert.equal(db.constructor.name, "App");
      assert.match(inspect(db), /^(App|Database) \{/);
      opened(db, pair);
      assert.equal(sqls.length, 1, "it sees its own calls and none of ours");
      const plain: Any = new App(":memory:", {});
      assert.equal(plain.replication, null);
      plain.close();
    });

    test("two connections share one hub; other replicas or another driver are refused", (t) => {
      const pair = new Pair(t, driver);
      const [first, second] = [pair.open(), pair.open()];
      assert.equal(first.replication, second.replication);
      const other = { replicas: [`${pair.replica}-other`] };
      assert.throws(() => pair.open(other), { code: "ERR_LOCKSTEP_BAD_OPTION" });
      const Other = dropIns[isNode ? "better-sqlite3" : "node:sqlite"];
      assert.throws(() => new Other(pair.primary, { replicas: [pair.replica] }), {
        code: "ERR_LOCKSTEP_BAD_OPTION",
      });
      first.exec("CREATE TABLE t (x)");
      first.close();
      second.exec("INSERT INTO t VALUES (1)");
      pair.assertInStep();
      second.close();
    });

    test("a close that the driver refuses changes nothing", (t) => {
      const pair = new Pair(t, driver);
      const db = pair.open();
      db.exec("CREATE TABLE t (x)");
      if (isNode) {
        db.close();
        assert.throws(() => db.close(), { code: "ERR_INVALID_STATE" });
        return;
      }
      const rows = db.prepare("VALUES (1), (2)").iterate();
      rows.next();
      assert.throws(() => db.close(), /busy/);
      rows.return();
      db.exec("INSERT INTO t VALUES (1)");
      pair.assertInStep();
      db.close();
      assert.equal(db.close(), db);
    });

    test("what the application drops is collected", async (t) => {
      const pair = new Pair(t, driver);
      const kept = pair.open(); // the hub lives on
      setFlagsFromString("--expose-gc");
      const collect = runInNewContext("gc");
      const dropped = new WeakRef(new Database(pair.primary, { replicas: [pair.replica] }));
      for (let i = 0; i < 50 && dropped.deref(); i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        collect();
      }
      assert.equal(dropped.deref(), undefined);
      kept.exec("CREATE TABLE t (x)");
      await new Promise((resolve) => setTimeout(resolve, 50)); // the copies are at rest at the end
    });
  });
}

describe("node:sqlite, opened later", () => {
  test("open() and close() come and go", (t) => {
    const pair = new Pair(t, "node:sqlite");
    const db = pair.open({ open: false });
    assert.equal(db.replication, null);
    assert.equal(fs.existsSync(pair.primary), false);
    for (const sql of ["CREATE TABLE t (x)", "INSERT INTO t VALUES (1)", "DELETE FROM t"]) {
      db.open();
      assert.throws(() => db.open(), { code: "ERR_INVALID_STATE" });
      db.exec(sql);
      pair.assertInStep();
      assert.ok(db.replication);
      db.close();
      assert.equal(db.replication, null);
      assertAtRest(pair.primary, [pair.replica]);
    }
    db.open();
    db[Symbol.dispose]();
    db[Symbol.dispose]();
    assert.equal(isOpen(db), false);
  });

  test("a relative path stays where it was", (t) => {
    const pair = new Pair(t, "node:sqlite");
    const home = process.cwd();
    t.after(() => process.chdir(home));
    process.chdir(path.dirname(pair.primary));
    const db = new dropIns["node:sqlite"]("app.db", { replicas: ["../copy/app.db"], open: false });
    process.chdir(home);
    db.open();
    assert.equal(db.location(), pair.primary);
    db.close();
  });
});

test("better-sqlite3: verbose hears the application's statements and none of ours", (t) => {
  const heard: unknown[][] = [];
  const hear = (into: unknown[][]) => (sql: unknown) => into.push([sql]);
  const use = (db: Any): void => {
    db.exec("CREATE TABLE t (x)");
    db.prepare("INSERT INTO t VALUES (?)").run("a");
    db.transaction(() => db.pragma("user_version = 5"))();
    db.close();
  };
  const pair = new Pair(t, "better-sqlite3");
  const ours: unknown[][] = [];
  use(pair.open({ verbose: hear(ours) }));
  use(new originals["better-sqlite3"](":memory:", { verbose: hear(heard) }));
  assert.deepEqual(ours, heard);
  assert.ok(heard.length > 3);
});

test("require() returns what the driver's returns", () => {
  const require = createRequire(import.meta.url);
  const Database = require("../../src/better-sqlite3.ts");
  assert.equal(Database, dropIns["better-sqlite3"]);
  assert.equal(Database.SqliteError, originals["better-sqlite3"].SqliteError);
  const sqlite = require("../../src/index.ts");
  for (const name of Object.keys(require("node:sqlite"))) assert.ok(name in sqlite, name);
  assert.equal(sqlite.StatementSync, require("node:sqlite").StatementSync);
});
