/** Replicated databases: how they are named, shared, closed and dropped. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { scratch } from "../scratch.ts";
import { assertAtRest } from "../support/files.ts";
import { type Any, drivers, dropIns, isOpen, originals, Pair } from "./pair.ts";

for (const driver of drivers) {
  const isNode = driver === "node:sqlite";
  const Database = dropIns[driver];

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
