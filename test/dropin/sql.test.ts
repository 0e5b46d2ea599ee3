/** Which statements can commit and which settings they change, from their text. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import Database from "better-sqlite3";
import { inspectScript, inspectStatement } from "../../src/dropin/owned.ts";
import { firstStatement, statementsIn } from "../../src/dropin/sql.ts";
import { LockstepError } from "../../src/errors.ts";

describe("can it commit?", () => {
  const reads = [
    "SELECT 1",
    "values (1)",
    "\uFEFF \t\n\f\r;;SELECT 1",
    "-- INSERT\n/* DELETE */ select 1",
    "/**/SELECT 1",
    "EXPLAIN DELETE FROM t",
    "EXPLAIN QUERY PLAN INSERT INTO t VALUES (1)",
    "WITH a AS (DELETE) SELECT 1",
    "WITH RECURSIVE a(x) AS NOT MATERIALIZED (VALUES (')'), (1)), b AS (SELECT 1) VALUES (1)",
    'WITH "insert" AS (SELECT 1), [update] AS (SELECT 1), `delete` AS (SELECT 1) SELECT 1',
    "",
    "-- nothing",
    "/* DELETE",
    "; ;",
  ];
  for (const sql of reads) {
    test(`no: ${JSON.stringify(sql)}`, () => assert.ok(!firstStatement(sql)?.canCommit));
  }

  const writes = [
    ...["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a"],
    ...["INSERT INTO t VALUES (1) RETURNING *", "REPLACE INTO t VALUES (1)", "DELETE FROM t"],
    ...["CREATE TABLE t (x)", "DROP TABLE t", "VACUUM", "ANALYZE", "REINDEX", "PRAGMA optimize"],
    ...["ATTACH 'a' AS a", "DETACH a", "select$1", "'SELECT'", '"SELECT" 1', "\\SELECT"],
    "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
    "WITH a AS (SELECT ')' /* ( */) UPDATE t SET x = 1",
    "WITH a AS (SELECT 1), b AS (SELECT 1) DELETE FROM t WHERE (SELECT 1)",
    "WITH a AS (SELECT 1) REPLACE INTO t SELECT 1",
    "WITH",
  ];
  for (const sql of writes) {
    test(`yes: ${JSON.stringify(sql)}`, () => assert.equal(firstStatement(sql)?.canCommit, true));
  }
});

describe("statements of a script", () => {
  const scripts: [sql: string, canCommit: boolean[]][] = [
    ["COMMIT; BEGIN", [true, true]],
    ["SELECT ';'; INSERT INTO t VALUES (1);", [false, true]],
    ["SELECT 1 /* ; */; -- ;\n SELECT 2; ;", [false, false]],
    ["SELECT $a::b(';'); SELECT @a(;", [false, false]],
    ["SELECT \"a;\"\";\", [;], `;`;VALUES('''')", [false, false]],
    ["SELECT 1\0; DELETE FROM t", [false]],
    ["PRAGMA x; SELECT 1", [true, false]],
    ["WITH; SELECT 1", [true, false]],
    ["EXPLAIN; SELECT 1", [false, false]],
  ];
  for (const [sql, canCommit] of scripts) {
    test(JSON.stringify(sql), () =>
      assert.deepEqual(
        [...statementsIn(sql)].map((statement) => statement.canCommit),
        canCommit,
      ),
    );
  }
});

describe("pragmas", () => {
  const pragmas: [sql: string, schema: string | null, name: string, value: string | null][] = [
    ["PRAGMA journal_mode", null, "journal_mode", null],
    ["pragma Main.Journal_Mode = Delete", "main", "journal_mode", "delete"],
    ["PRAGMA journal_mode(DELETE)", null, "journal_mode", "delete"],
    ["PRAGMA \"main\" . [journal_mode] = 'delete'", "main", "journal_mode", "delete"],
    ["PRAGMA/**/`synchronous`--\n(\n-1)", null, "synchronous", "-1"],
    ["EXPLAIN PRAGMA synchronous=1.5", null, "synchronous", "1.5"],
    ["EXPLAIN QUERY PLAN PRAGMA synchronous=+0;", null, "synchronous", "+0"],
    ["PRAGMA synchronous=", null, "synchronous", ""],
    ["PRAGMA", null, "", null],
  ];
  for (const [sql, schema, name, value] of pragmas) {
    test(sql, () => assert.deepEqual(firstStatement(sql)?.pragma, { schema, name, value }));
  }
});

describe("settings of ours", () => {
  const refused = [
    "PRAGMA journal_mode=DELETE",
    "PRAGMA main.journal_mode(off)",
    "PRAGMA synchronous=FULL",
    "PRAGMA 'synchronous'=0",
    "PRAGMA wal_autocheckpoint=1000",
    "PRAGMA temp.wal_autocheckpoint=1000",
    "PRAGMA locking_mode=EXCLUSIVE",
    "EXPLAIN PRAGMA synchronous=0",
  ];
  for (const sql of refused) {
    test(`refused: ${sql}`, () => {
      const owned = { code: "ERR_LOCKSTEP_OWNED", copy: "/a", state: "Nothing was executed" };
      assert.throws(() => inspectStatement(sql, "/a"), owned);
      assert.throws(() => inspectScript(`SELECT 1; ${sql}`, "/a"), owned);
    });
  }

  const allowed = [
    ...["journal_mode", "synchronous", "wal_autocheckpoint", "locking_mode", "main.synchronous"],
    ...["journal_mode=WAL", "synchronous=NORMAL", "synchronous(1)", "wal_autocheckpoint=0"],
    ...["locking_mode=normal", "other.journal_mode=DELETE", "temp.synchronous=0"],
    ...["wal_checkpoint(TRUNCATE)", "user_version=5", "toString=5", "foreign_keys=OFF"],
  ];
  for (const pragma of allowed) {
    test(`allowed: ${pragma}`, () => void inspectStatement(`PRAGMA ${pragma}`, "/a"));
  }

  test("what prepare does not execute is not looked at", () => {
    assert.equal(inspectStatement("SELECT 1; PRAGMA synchronous=0", "/a"), false);
    assert.equal(inspectStatement("SELECT * FROM pragma_journal_mode", "/a"), false);
  });
});

test("SQLite itself calls every statement of ours read-only that cannot commit", () => {
  const db = new Database(":memory:");
  db.exec("CREATE TABLE t (x)");
  const read = ["SELECT 1", "VALUES (1)", "WITH a AS (SELECT 1) SELECT * FROM a"];
  const write = ["INSERT INTO t VALUES (1)", "WITH a AS (SELECT 1) DELETE FROM t", "VACUUM"];
  for (const sql of [...read, ...write]) {
    assert.equal(firstStatement(sql)?.canCommit, !db.prepare(sql).readonly, sql);
  }
  db.close();
});

test("quotes inside a parameter in the manner of Tcl hide nothing", () => {
  const hidden = "SELECT $a('); PRAGMA synchronous=0; --')";
  const db = new DatabaseSync(":memory:");
  const read = () => db.prepare("PRAGMA synchronous").get()?.["synchronous"];
  assert.notEqual(read(), 0);
  db.exec(hidden);
  assert.equal(read(), 0, "SQLite executed it");
  db.close();
  assert.throws(() => inspectScript(hidden, "/a"), LockstepError);
});
