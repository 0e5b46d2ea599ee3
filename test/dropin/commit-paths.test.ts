/**
 * Every way in which a statement can commit: when it returns, or throws, the replica's log holds it.
 * Every path is looked at by itself, since the next gate would make good what one has missed.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import type { DriverName } from "../../src/driver.ts";
import { type Any, drivers, originals, Pair } from "./pair.ts";
import { insert, paths } from "./paths.ts";

for (const driver of drivers) {
  describe(driver, () => {
    const pair = new Pair({ after }, driver);
    let db: Any;
    before(() => {
      db = pair.open();
    });
    beforeEach(() => {
      startAnew(db);
      db.exec("CREATE TABLE t (x)");
    });

    for (const [name, { prepare, act, commits = true, throws }] of Object.entries(paths[driver])) {
      test(`${name} ${commits ? "commits" : "does not commit"}`, () => {
        const prepared = prepare?.(db, pair);
        const before = pair.committed("primary");
        let cleanUp: unknown;
        if (throws) assert.throws(() => act(db, prepared, pair), throws);
        else cleanUp = act(db, prepared, pair);
        assert.equal(pair.committed("primary") !== before, commits, "commits on the primary");
        pair.assertInStep();
        if (typeof cleanUp === "function") cleanUp();
      });
    }
  });
}

/** An empty database, and a connection that does nothing. */
function startAnew(db: Any): void {
  try {
    db.exec("ROLLBACK");
  } catch {} // there was none
  const names = (sql: string): string[] =>
    db
      .prepare(sql)
      .all()
      .map((row: { name: string }) => row.name);
  for (const name of names("SELECT name FROM pragma_database_list WHERE name = 'other'")) {
    db.exec(`DETACH ${name}`);
  }
  const own = "sql NOTNULL AND name NOT LIKE 'f%' AND name NOT LIKE 'sqlite%'";
  db.exec("DROP TABLE IF EXISTS f");
  for (const name of names(`SELECT name FROM sqlite_schema WHERE type = 'table' AND ${own}`)) {
    db.exec(`DROP TABLE ${name}`);
  }
  db.exec("PRAGMA user_version=0");
  db.unsafeMode?.(false);
}

const reads: Record<string, (db: Any, driver: DriverName) => unknown> = {
  "get()": (db) => db.prepare("SELECT * FROM t").get(),
  "all()": (db) => db.prepare("WITH a AS (SELECT 1) SELECT * FROM t").all(),
  "iterate()": (db) => [...db.prepare("SELECT * FROM t").iterate()],
  "exec()": (db) => db.exec("SELECT 1; VALUES (1); EXPLAIN DELETE FROM t"),
  "serialize()": (db) => db.serialize(),
  "a tag or explain()": (db, driver) =>
    driver === "node:sqlite"
      ? db.createTagStore().all`SELECT * FROM t`
      : db.explain("DELETE FROM t"),
};

for (const driver of drivers) {
  describe(`${driver}: a read does not ask the gate`, () => {
    const pair = new Pair({ after }, driver);
    let db: Any;
    before(() => {
      db = pair.open();
      db.exec("CREATE TABLE t (x)");
    });

    for (const [name, read] of Object.entries(reads)) {
      test(name, () => {
        // Past our gate: only who asks there can see it.
        originals[driver].prototype.exec.call(db, insert);
        read(db, driver);
        assert.notEqual(pair.committed("replica"), pair.committed("primary"));
        db.prepare("DELETE FROM t WHERE 0").run();
        pair.assertInStep();
      });
    }
  });
}
