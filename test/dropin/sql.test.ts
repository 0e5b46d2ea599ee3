/**
 * Goal: no text that SQLite would commit is taken for a read, and none that changes a setting of ours
 * gets through, however it is spelled.
 * Method: the real SQLite executes what we classify. Random texts are made of the pieces that could
 * confuse a tokenizer. Replay: SEED=<seed> npx node --test test/dropin/sql.test.ts
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import fc from "fast-check";
import { inspectScript, inspectStatement } from "../../src/dropin/owned.ts";
import { firstStatement, statementsIn } from "../../src/dropin/sql.ts";
import { LockstepError } from "../../src/errors.ts";
import { scratch } from "../scratch.ts";
import { runs, seed } from "../support/seed.ts";

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

/** A database in the state of a replicated one, and what a script changes there. */
class Oracle {
  readonly #db: Database.Database;
  readonly #other: Database.Database;
  #seen: unknown;
  statements = 0;

  constructor(t: TestContext) {
    const file = join(scratch(t), "oracle.db");
    const verbose = (): void => void this.statements++;
    this.#db = new Database(file, { verbose });
    this.#restore();
    this.#db.exec("CREATE TABLE t (x)");
    this.#other = new Database(file);
    this.#seen = this.#version();
    t.after(() => {
      this.#other.close();
      this.#db.close();
    });
  }

  /** Runs it as far as it goes. */
  run(sql: string): { committed: boolean; changed: boolean; failed: boolean } {
    let failed = false;
    this.statements = 0;
    try {
      this.#db.exec(sql);
    } catch {
      failed = true;
    }
    const { statements } = this;
    if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
    const changed = this.#settings() !== "wal 1 0 normal";
    if (changed) this.#restore();
    const before = this.#seen;
    this.#seen = this.#version();
    this.statements = statements;
    return { committed: this.#seen !== before, changed, failed };
  }

  #settings(): string {
    const read = (name: string) => this.#db.pragma(name, { simple: true });
    const names = ["journal_mode", "synchronous", "wal_autocheckpoint", "locking_mode"];
    return names.map(read).join(" ");
  }

  #restore(): void {
    this.#db.exec(
      `PRAGMA locking_mode=NORMAL; SELECT 1 FROM sqlite_schema; PRAGMA journal_mode=WAL;
       PRAGMA synchronous=1; PRAGMA wal_autocheckpoint=0`,
    );
  }

  /** Changes when the other connection has committed. */
  #version(): unknown {
    return this.#other.pragma("data_version", { simple: true });
  }
}

const pieces = fc.constantFrom(
  ..." |;|\n|\t|(|)|'|\"|`|[|]|--|/*|*/|/|*|$a|$a(|@b::|:c|#|?1|.|,|=|-|+|x'00'|''|\"\"".split("|"),
  ..."SELECT 1|VALUES (1)|WITH a AS (|WITH a AS (SELECT 1) |EXPLAIN |EXPLAIN QUERY PLAN ".split(
    "|",
  ),
  ..."INSERT INTO t VALUES (1)|DELETE FROM t|UPDATE t SET x = 1|REPLACE INTO t ".split("|"),
  ..."BEGIN|COMMIT|SAVEPOINT a|RELEASE a|ROLLBACK|\uFEFF|\0|\v|\f|ı|K".split("|"),
  ...'PRAGMA |PRAGMA|pragma main.|PRAGMA "main".|PRAGMA/**/|journal_mode|synchronous'.split("|"),
  ..."SYNCHRONOUS=0|synchronous = |'synchronous'|locking_mode=|wal_autocheckpoint(7)".split("|"),
  ..."off|OFF|delete|exclusive|1|0|2|NORMAL|wal|user_version = 5|SELECT * FROM t".split("|"),
);

test(`what SQLite does with a random text was foreseen (seed ${seed})`, (t) => {
  const oracle = new Oracle(t);
  const whole = fc.constantFrom(";PRAGMA synchronous=0;", ";INSERT INTO t VALUES (1);", ";COMMIT;");
  const space = fc.constantFrom(" ", "; ");
  const texts = fc.array(fc.oneof({ arbitrary: pieces, weight: 3 }, space, whole), {
    maxLength: 12,
  });
  const happened = { committed: 0, changed: 0 };
  fc.assert(
    fc.property(texts, (parts) => {
      const sql = parts.join("");
      const { committed, changed } = oracle.run(sql);
      let canCommit = true;
      let refused = false;
      try {
        canCommit = inspectScript(sql, "/a");
      } catch (error) {
        assert.ok(error instanceof LockstepError);
        refused = true;
      }
      if (committed) assert.ok(canCommit, "committed");
      if (changed) assert.ok(refused, "changed a setting");
      if (committed) happened.committed++;
      if (changed) happened.changed++;
    }),
    { seed, numRuns: runs(4000), endOnFailure: true },
  );
  t.diagnostic(JSON.stringify(happened));
  assert.ok(happened.committed > 0 && happened.changed > 0, "the texts do something");
});

const blank = fc.constantFrom(" ", "\n", "/* ; */", "/*'*/", "--;'\n", "\t", "/*--*/ ");
const quotes = fc.constantFrom(["", ""], ["'", "'"], ['"', '"'], ["[", "]"], ["`", "`"]);
const quoted = (...names: string[]) =>
  fc.tuple(fc.constantFrom(...names), quotes).map(([name, [open, close]]) => open + name + close);

test(`a pragma that changes a setting is refused (seed ${seed})`, (t) => {
  const oracle = new Oracle(t);
  const spelled = fc
    .tuple(
      fc.constantFrom("", "EXPLAIN", "explain query plan"),
      fc.constantFrom("PRAGMA", "Pragma"),
      fc.oneof(fc.constant(""), quoted("main", "MAIN", "temp")),
      quoted("journal_mode", "Synchronous", "WAL_AUTOCHECKPOINT", "locking_mode"),
      fc.constantFrom("=", "(", ""),
      quoted("off", "DELETE", "Exclusive", "0", "1", "2", "normal", "wal", "-3", "+1.5"),
      fc.array(blank, { minLength: 8, maxLength: 8 }),
    )
    .map(([explain, pragma, schema, name, operator, value, blanks]) => {
      const set = operator === "" ? [] : [operator, value, operator === "(" ? ")" : ""];
      const words = [explain, pragma, ...(schema === "" ? [] : [schema, "."]), name, ...set];
      return words.map((word, i) => word + blanks[i % 8]).join("");
    });
  let changes = 0;
  fc.assert(
    fc.property(spelled, (sql) => {
      const { changed } = oracle.run(sql);
      if (!changed) return;
      changes++;
      assert.throws(() => inspectScript(sql, "/a"), LockstepError);
      assert.throws(() => inspectStatement(sql, "/a"), LockstepError);
    }),
    { seed, numRuns: runs(1000) },
  );
  t.diagnostic(`${changes} changed a setting`);
  assert.ok(changes > 0, "some change a setting");
});

test(`a script has the statements that SQLite finds in it (seed ${seed})`, (t) => {
  const oracle = new Oracle(t);
  const value = fc.constantFrom("1", "';'", "'''; '", "x'3b'", "$a", ":a", "?", "?12", "1.5e+3");
  const name = fc.constantFrom('"x;"""', "[;]", "`;```", "'x;'", "x$", "\u00e4", "_");
  const statement = fc
    .tuple(fc.constantFrom("SELECT", "VALUES", "INSERT"), value, name, blank)
    .map(([verb, value, name, space]) => {
      if (verb === "SELECT") return `SELECT${space}${value} AS${space}${name}`;
      if (verb === "VALUES") return `${space}VALUES${space}(${value})${space}`;
      return `INSERT INTO${space}t${space}VALUES(${value})`;
    });
  fc.assert(
    fc.property(fc.array(statement, { maxLength: 6 }), (statements) => {
      const sql = statements.join(";");
      const { failed } = oracle.run(sql);
      assert.equal(failed, false);
      assert.equal([...statementsIn(sql)].length, oracle.statements);
      const inserts = statements.some((each) => each.startsWith("INSERT"));
      assert.equal(inspectScript(sql, "/a"), inserts);
    }),
    { seed, numRuns: runs(300) },
  );
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
