/**
 * Goal: no text that SQLite would commit is taken for a read, and none that changes a setting of ours
 * gets through, however it is spelled.
 * Method: the real SQLite executes what we classify. Random texts are made of the pieces that could
 * confuse a tokenizer. Replay: SEED=<seed> npx node --test test/dropin/sql-random.test.ts
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import fc from "fast-check";
import { inspectScript, inspectStatement } from "../../src/dropin/owned.ts";
import { statementsIn } from "../../src/dropin/sql.ts";
import { LockstepError } from "../../src/errors.ts";
import { scratch } from "../scratch.ts";
import { runs, seed } from "../support/seed.ts";

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
