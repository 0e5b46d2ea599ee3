/** The ways in which a statement can commit, or does not: see commit-paths.test.ts. */
import path from "node:path";
import type { DriverName } from "../../src/driver.ts";
import type { Any, Pair } from "./pair.ts";

/** Does something in the way that its name says; "commits" or not. */
export interface Path {
  readonly prepare?: (db: Any, pair: Pair) => Any;
  readonly act: (db: Any, prepared: Any, pair: Pair) => unknown;
  readonly commits?: false;
  readonly throws?: RegExp;
}

export const insert = "INSERT INTO t VALUES (1)";
const returning = "INSERT INTO t VALUES (1), (2), (3) RETURNING x";
const begin = (db: Any): void => void db.exec("BEGIN");

const common: Record<string, Path> = {
  "run()": { act: (db) => db.prepare(insert).run() },
  "get() of RETURNING": { act: (db) => db.prepare(returning).get() },
  "all() of RETURNING": { act: (db) => db.prepare(returning).all() },
  "iterate() to its end": { act: (db) => [...db.prepare(returning).iterate()] },
  "iterate() and return()": {
    act(db) {
      const rows = db.prepare(returning).iterate();
      rows.next();
      rows.return();
    },
  },
  "iterate() and break": {
    act(db) {
      for (const _ of db.prepare(returning).iterate()) break;
    },
  },
  "iterate() with an iterator helper": {
    act: (db) =>
      (globalThis as Any).Iterator.from(db.prepare(returning).iterate()).take(1).toArray(),
  },
  "iterate() not yet at its end": {
    prepare: (db) => db.prepare(returning).iterate(),
    act(_, rows) {
      rows.next();
      return () => rows.return();
    },
    commits: false,
  },
  "run() of WITH": { act: (db) => db.prepare(`WITH a AS (SELECT 1) ${insert}`).run() },
  "run() of a comment and REPLACE": {
    act: (db) => db.prepare("/* SELECT */ REPLACE INTO t VALUES (5)").run(),
  },
  "run() in a transaction": {
    prepare: begin,
    act: (db) => db.prepare(insert).run(),
    commits: false,
  },
  "run() of COMMIT": {
    prepare: (db) => db.exec(`BEGIN; ${insert}`),
    act: (db) => db.prepare("COMMIT").run(),
  },
  "run() of END": {
    prepare: (db) => db.exec(`BEGIN; ${insert}`),
    act: (db) => db.prepare("END").run(),
  },
  "run() of the outermost RELEASE": {
    prepare: (db) => db.exec(`SAVEPOINT a; ${insert}`),
    act: (db) => db.prepare("RELEASE a").run(),
  },
  "run() of an inner RELEASE": {
    prepare: (db) => db.exec(`BEGIN; SAVEPOINT a; ${insert}`),
    act: (db) => db.prepare("RELEASE a").run(),
    commits: false,
  },
  "run() of ROLLBACK": {
    prepare: (db) => db.exec(`BEGIN; ${insert}`),
    act: (db) => db.prepare("ROLLBACK").run(),
    commits: false,
  },
  "run() of INSERT OR FAIL that commits a part": {
    prepare: (db) => db.exec("CREATE TABLE u (x UNIQUE); INSERT INTO u VALUES (3)"),
    act: (db) => db.prepare("INSERT OR FAIL INTO u VALUES (1), (2), (3)").run(),
    throws: /UNIQUE/,
  },
  "all() of INSERT OR FAIL that commits a part": {
    prepare: (db) => db.exec("CREATE TABLE u (x UNIQUE); INSERT INTO u VALUES (3)"),
    act: (db) => db.prepare("INSERT OR FAIL INTO u VALUES (1), (3) RETURNING x").all(),
    throws: /UNIQUE/,
  },
  "iterate() of INSERT OR FAIL that commits a part": {
    prepare: (db) => db.exec("CREATE TABLE u (x UNIQUE); INSERT INTO u VALUES (3)"),
    act: (db) => [...db.prepare("INSERT OR FAIL INTO u VALUES (1), (3) RETURNING x").iterate()],
    throws: /UNIQUE/,
  },
  "exec()": { act: (db) => db.exec(insert) },
  "exec() of several statements": { act: (db) => db.exec(`SELECT 1; ${insert}; SELECT 2`) },
  "exec() that commits and ends in a transaction": {
    act: (db) => db.exec(`BEGIN; ${insert}; COMMIT; BEGIN`),
  },
  "exec() of COMMIT and BEGIN": {
    prepare: (db) => db.exec(`BEGIN; ${insert}`),
    act: (db) => db.exec("COMMIT; BEGIN"),
  },
  "exec() that commits and then fails": {
    act: (db) => db.exec(`${insert}; SELECT * FROM missing`),
    throws: /no such table/,
  },
  "exec() that commits and then cannot be parsed": {
    act: (db) => db.exec(`${insert}; 'SELECT`),
    throws: /unrecognized token/,
  },
  "exec() of DDL": { act: (db) => db.exec("CREATE INDEX i ON t (x)") },
  "exec() of VACUUM": { prepare: (db) => db.exec(insert), act: (db) => db.exec("VACUUM") },
  "run() of VACUUM": { prepare: (db) => db.exec(insert), act: (db) => db.prepare("VACUUM").run() },
  "exec() of ANALYZE": { prepare: (db) => db.exec(insert), act: (db) => db.exec("ANALYZE") },
  "exec() of REINDEX": {
    prepare: (db) => db.exec(`CREATE INDEX i ON t (x); ${insert}`),
    act: (db) => db.exec("REINDEX"),
  },
  "exec() of PRAGMA": { act: (db) => db.exec("PRAGMA user_version=5") },
  "run() of PRAGMA": { act: (db) => db.prepare("PRAGMA user_version=5").run() },
  "a trigger": {
    prepare: (db) => db.exec("CREATE TRIGGER r INSERT ON t BEGIN DELETE FROM t; SELECT 1; END"),
    act: (db) => db.prepare(insert).run(),
  },
  "a virtual table": {
    prepare: (db) => db.exec("CREATE VIRTUAL TABLE f USING fts5 (x)"),
    act: (db) => db.prepare("INSERT INTO f (f) VALUES ('optimize'), ('rebuild')").run(),
  },
  "a write beside an attached database": {
    prepare: (db, pair) => db.exec(`ATTACH '${beside(pair)}' AS other; CREATE TABLE other.o (x)`),
    act: (db) => db.exec("BEGIN; INSERT INTO other.o VALUES (1); INSERT INTO t VALUES (1); COMMIT"),
  },
  "a write in the attached database alone": {
    prepare: (db, pair) => db.exec(`ATTACH '${beside(pair)}' AS other; CREATE TABLE other.o (x)`),
    act: (db) => db.exec("INSERT INTO other.o VALUES (1)"),
    commits: false,
  },
  "a failing statement": {
    act: (db) => db.exec("INSERT INTO missing VALUES (1)"),
    throws: /no such table/,
    commits: false,
  },
};

const better: Record<string, Path> = {
  ...transactions(),
  "transaction() that calls itself": {
    prepare: (db) =>
      db.transaction(function self(depth: number): void {
        db.prepare(insert).run();
        if (depth > 0) db.transaction(self)(depth - 1);
      }),
    act: (_, transaction) => transaction(3),
  },
  "transaction() in a transaction": {
    prepare: begin,
    act: (db) => db.transaction(() => db.prepare(insert).run())(),
    commits: false,
  },
  "transaction() that throws": {
    act: (db) =>
      db.transaction(() => {
        db.prepare(insert).run();
        throw new Error("not this one");
      })(),
    throws: /not this one/,
    commits: false,
  },
  "transaction() that commits by itself and throws": {
    act: (db) =>
      db.transaction(() => {
        db.exec(`${insert}; COMMIT`);
        throw new Error("too late");
      })(),
    throws: /too late/,
  },
  "pragma()": { act: (db) => db.pragma("user_version = 5") },
  "pragma() in a transaction": {
    prepare: begin,
    act: (db) => db.pragma("user_version = 5"),
    commits: false,
  },
  "pluck().get()": { act: (db) => db.prepare(returning).pluck().get() },
  "bind().all()": { act: (db) => db.prepare("INSERT INTO t VALUES (?) RETURNING x").bind(5).all() },
  "run() beside an open iterator, in unsafe mode": {
    prepare(db) {
      db.exec(insert);
      db.unsafeMode();
      const rows = db.prepare("SELECT * FROM t").iterate();
      rows.next();
      return rows;
    },
    act(db, rows) {
      db.prepare(insert).run();
      return () => rows.return();
    },
  },
};

function transactions(): Record<string, Path> {
  const variants = ["default", "deferred", "immediate", "exclusive"];
  return Object.fromEntries(
    variants.map((variant) => [
      `transaction().${variant}`,
      {
        prepare: (db: Any) => db.transaction(() => db.prepare(insert).run())[variant],
        act: (_: Any, transaction: Any) => transaction(),
      },
    ]),
  );
}

const node: Record<string, Path> = {
  "tags: run": { prepare: tags, act: (_, sql) => sql.run`INSERT INTO t VALUES (${1})` },
  "tags: get": { prepare: tags, act: (_, sql) => sql.get`INSERT INTO t VALUES (${1}) RETURNING x` },
  "tags: all": { prepare: tags, act: (_, sql) => sql.all`INSERT INTO t VALUES (${1}) RETURNING x` },
  "tags: iterate to its end": {
    prepare: tags,
    act: (_, sql) => [...sql.iterate`INSERT INTO t VALUES (${1}) RETURNING x`],
  },
  "tags: iterate and return": {
    prepare: tags,
    act: (_, sql) => {
      for (const _ of sql.iterate`INSERT INTO t VALUES (${1}), (${2}) RETURNING x`) break;
    },
  },
  "tags: run in a transaction": {
    prepare(db) {
      begin(db);
      return tags(db);
    },
    act: (_, sql) => sql.run`INSERT INTO t VALUES (${1})`,
    commits: false,
  },
  "tags: of a second store": {
    prepare(db) {
      tags(db).get`SELECT 1`;
      return tags(db);
    },
    act: (_, sql) => sql.run`INSERT INTO t VALUES (${1})`,
  },
  "tags: an array that changes": {
    prepare(db) {
      const store = tags(db);
      const text = Object.assign(["SELECT 1"], { raw: ["SELECT 1"] });
      store.all(text);
      text[0] = insert;
      return () => store.run(text);
    },
    act: (_, run) => run(),
  },
  "applyChangeset()": {
    prepare(db) {
      db.exec("CREATE TABLE k (x INTEGER PRIMARY KEY)");
      const session = db.createSession();
      db.exec("INSERT INTO k VALUES (1)");
      const changes = session.changeset();
      session.close();
      db.exec("DELETE FROM k");
      return changes;
    },
    act: (db, changes) => db.applyChangeset(changes),
  },
  "run() of a statement with an abandoned iterator": {
    prepare: abandoned,
    act: (_, statement) => statement.run(),
  },
  "iterate() anew on a statement with an abandoned iterator": {
    prepare: abandoned,
    act: (_, statement) => void statement.iterate(),
  },
  "close() of a statement with an abandoned iterator": {
    prepare: abandoned,
    act: (_, statement) => statement.close(),
  },
  "disposal of a statement with an abandoned iterator": {
    prepare: abandoned,
    act: (_, statement) => statement[Symbol.dispose](),
  },
  "close() of one of two connections, with an abandoned iterator": {
    prepare(_, pair) {
      const other = pair.open();
      abandoned(other);
      return other;
    },
    act: (_, other) => other.close(),
  },
  "serialize() is a read": { act: (db) => db.serialize(), commits: false },
};

function tags(db: Any): Any {
  return db.createTagStore();
}

function abandoned(db: Any): Any {
  const statement = db.prepare(returning);
  statement.iterate().next();
  return statement;
}

let others = 0;
function beside(pair: Pair): string {
  return path.join(path.dirname(pair.primary), `other-${++others}.db`);
}

export const paths: Record<DriverName, Record<string, Path>> = {
  "node:sqlite": { ...common, ...node },
  "better-sqlite3": { ...common, ...better },
};
