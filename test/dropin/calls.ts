/**
 * Every method and property of the two drivers, called in one order on whatever state a database is
 * in. What a call does to the database is there for the calls behind it, in the original as in ours.
 */
import path from "node:path";
import type { DriverName } from "../../src/driver.ts";
import type { Any } from "./pair.ts";

/** A database and what was made of it while it was open. */
export interface Subject {
  readonly db: Any;
  readonly read: Any;
  readonly write: Any;
  readonly returning: Any;
  readonly rows: Any;
  readonly transaction: Any;
  readonly tags: Any;
  readonly session: Any;
  readonly file: string;
  /** For what the calls make. */
  readonly directory: string;
  readonly Database: Any;
  readonly Original: Any;
}

type Calls = Record<string, (subject: Subject) => unknown>;

const statements: Calls = {
  "old read.get": ({ read }) => read.get(),
  "old read.all": ({ read }) => read.all(),
  "old read.iterate": ({ read }) => [...read.iterate()],
  "old read.run": ({ read }) => read.run(),
  "old write.run": ({ write }) => write.run(7),
  "old write.run with too few": ({ write }) => write.run(),
  "old write.run with too many": ({ write }) => write.run(7, 8),
  "old write.run of an object": ({ write }) => write.run({}),
  "old write.get": ({ write }) => write.get(7),
  "old write.all": ({ write }) => write.all(7),
  "old write.iterate": ({ write }) => [...write.iterate(7)],
  "old returning.get": ({ returning }) => returning.get(8),
  "old returning.all": ({ returning }) => returning.all(8),
  "old returning.run": ({ returning }) => returning.run(8),
  "old returning.iterate": ({ returning }) => [...returning.iterate(8)],
  "old rows.next": ({ rows }) => rows.next(),
  "old rows[Symbol.iterator]": ({ rows }) => rows[Symbol.iterator]() === rows,
  "old rows.return": ({ rows }) => rows.return(),
  "old rows.next at the end": ({ rows }) => rows.next(),
  "read.columns": ({ read }) => read.columns(),
  "statement looks": ({ write }) => write,
  "prepare of a read": ({ db }) => db.prepare("SELECT 1 AS a, 'x' AS b").get(),
  "prepare of a write": ({ db }) => db.prepare("INSERT INTO t VALUES (1)").run(),
  "prepare of DDL": ({ db }) => db.prepare("CREATE TABLE IF NOT EXISTS u (x UNIQUE)").run(),
  "prepare of BEGIN": ({ db }) => db.prepare("BEGIN").run(),
  "prepare of COMMIT": ({ db }) => db.prepare("COMMIT").run(),
  "prepare of nothing": ({ db }) => db.prepare(""),
  "prepare of a comment": ({ db }) => db.prepare("-- nothing"),
  "prepare of nonsense": ({ db }) => db.prepare("NONSENSE"),
  "prepare of a missing table": ({ db }) => db.prepare("SELECT * FROM missing"),
  "prepare of a number": ({ db }) => db.prepare(5),
  "prepare of an object": ({ db }) => db.prepare(new String("SELECT 1")),
  prepare: ({ db }) => db.prepare(),
  "prepare on another object": ({ db }) => db.prepare.call({}, "SELECT 1"),
  "run of a constraint": ({ db }) => db.prepare("INSERT INTO u VALUES (1), (1)").run(),
  "exec of a read": ({ db }) => db.exec("SELECT 1"),
  "exec of a write": ({ db }) => db.exec("INSERT INTO t VALUES (1); DELETE FROM t WHERE x = 1"),
  "exec of a failure": ({ db }) => db.exec("INSERT INTO t VALUES (2); SELECT * FROM missing"),
  "exec of nothing": ({ db }) => db.exec(""),
  "exec of a number": ({ db }) => db.exec(5),
  "exec of ROLLBACK": ({ db }) => db.exec("ROLLBACK"),
  "iterate and break": ({ db }) => {
    for (const row of db.prepare("SELECT x FROM t").iterate()) return row;
    return "no row";
  },
  "exec while iterating a write": ({ db }) => {
    const rows = db.prepare("INSERT INTO t VALUES (1), (2) RETURNING x").iterate();
    try {
      rows.next();
      db.exec("DELETE FROM t WHERE x = 99");
    } finally {
      rows.return();
    }
  },
  count: ({ db }) => db.prepare("SELECT count(*) AS n FROM t").get(),
  looks: ({ db }) => db,
  "instanceof ours": ({ db, Database }) => db instanceof Database,
  "instanceof the original": ({ db, Original }) => db instanceof Original,
  "constructor's name": ({ db }) => db.constructor.name,
  "names in a loop": ({ db }) => {
    const names: string[] = [];
    for (const name in db) names.push(name);
    return names.sort();
  },
  methods: ({ db, Original }) =>
    Reflect.ownKeys(Original.prototype).map((name) => [db[name].name, db[name].length]),
};

const better: Calls = {
  ...statements,
  properties: ({ db }) => [db.open, db.inTransaction, db.memory, db.readonly],
  "statement properties": ({ db, read, write }) => [
    ...[read.source, read.reader, read.readonly, read.busy, read.database === db],
    ...[write.source, write.reader, write.readonly, write.busy, String(write)],
  ],
  "read.pluck, raw, expand": ({ read }) => [
    read.pluck(),
    read.pluck(false) === read,
    read.raw(false),
  ],
  "write.pluck": ({ write }) => write.pluck(),
  "old transaction": ({ transaction }) => transaction(3),
  "old transaction.immediate": ({ transaction }) => transaction.immediate(4),
  "transaction looks": ({ transaction, db }) => [
    transaction,
    transaction.default === transaction,
    transaction.exclusive.immediate === transaction.immediate,
    transaction.database === db,
    Reflect.ownKeys(transaction),
  ],
  "transaction of nothing": ({ db }) => db.transaction(),
  "transaction with this and arguments": ({ db }) => {
    const transaction = db.transaction(function (this: Any, ...args: unknown[]) {
      return [this.self, ...args];
    });
    return transaction.deferred.call({ self: 1 }, 2, 3);
  },
  "transaction that throws": ({ db }) =>
    db.transaction(() => {
      throw new RangeError("no");
    })(),
  "transaction of a promise": ({ db }) => db.transaction(async () => {})(),
  "pragma that asks": ({ db }) => db.pragma("user_version"),
  "simple pragma": ({ db }) => db.pragma("user_version", { simple: true }),
  "pragma that sets": ({ db }) => db.pragma("user_version = 7"),
  "pragma of ours": ({ db }) => db.pragma("journal_mode = WAL"),
  "pragma of nothing": ({ db }) => db.pragma(),
  "pragma of two": ({ db }) => db.pragma("user_version; SELECT 1"),
  "pragma of nonsense": ({ db }) => db.pragma("'"),
  "pragma with wrong options": ({ db }) => db.pragma("user_version", 5),
  explain: ({ db }) => db.explain("SELECT 1").length > 0,
  "explain of a number": ({ db }) => db.explain(5),
  function: ({ db }) => db.function("plus", (a: number, b: number) => a + b),
  "use of the function": ({ db }) => db.prepare("SELECT plus(1, 2) AS x").get(),
  "function that throws": ({ db }) => {
    db.function("fails", () => {
      throw new RangeError("no");
    });
    db.prepare("INSERT INTO t VALUES (fails())").run();
  },
  "function that writes": ({ db }) => {
    db.function("writes", () => db.exec("INSERT INTO t VALUES (1)"));
    db.prepare("INSERT INTO t VALUES (writes())").run();
  },
  aggregate: ({ db }) =>
    db.aggregate("total2", { start: 0, step: (a: number, b: number) => a + b }),
  table: ({ db }) =>
    db.table("two", {
      columns: ["x"],
      *rows() {
        yield [1];
      },
    }),
  "use of the table": ({ db }) => db.prepare("SELECT x FROM two").all(),
  loadExtension: ({ db }) => db.loadExtension("/nowhere/none"),
  defaultSafeIntegers: ({ db }) => db.defaultSafeIntegers(false),
  serialize: ({ db }) => db.serialize().subarray(0, 16).toString(),
  "serialize of nothing": ({ db }) => db.serialize({ attached: "" }),
  backup: ({ db, directory }) => db.backup(path.join(directory, "backup.db")),
  "backup of nothing": ({ db }) => db.backup(""),
  unsafeMode: ({ db }) => db.unsafeMode(true),
  "exec in unsafe mode": ({ db }) => db.exec("INSERT INTO t VALUES (5)"),
  "out of unsafe mode": ({ db }) => db.unsafeMode(false),
};

const node: Calls = {
  ...statements,
  properties: ({ db }) => db.isOpen,
  isTransaction: ({ db }) => db.isTransaction,
  limits: ({ db }) => db.limits.variableNumber,
  location: ({ db, file }) => (db.location() === file ? "its file" : db.location()),
  "location of nothing": ({ db }) => db.location("nothing"),
  sourceSQL: ({ write }) => write.sourceSQL,
  expandedSQL: ({ write }) => write.expandedSQL,
  setReadBigInts: ({ read }) => read.setReadBigInts(false),
  "setReadBigInts of nothing": ({ read }) => read.setReadBigInts(),
  setReturnArrays: ({ read }) => read.setReturnArrays(false),
  stat: ({ read }) => typeof read.stat?.("run"),
  resetStats: ({ read }) => read.resetStats?.(),
  function: ({ db }) => db.function("plus", (a: number, b: number) => a + b),
  "use of the function": ({ db }) => db.prepare("SELECT plus(1, 2) AS x").get(),
  "function that throws": ({ db }) => {
    db.function("fails", () => {
      throw new RangeError("no");
    });
    db.prepare("INSERT INTO t VALUES (fails())").run();
  },
  aggregate: ({ db }) =>
    db.aggregate("total2", { start: 0, step: (a: number, b: number) => a + b }),
  createTagStore: ({ db }) => db.createTagStore(),
  "tags.get": ({ tags }) => tags.get`SELECT ${1} AS x`,
  "tags.all": ({ tags }) => tags.all`SELECT ${2} AS x`,
  "tags.iterate": ({ tags }) => [...tags.iterate`SELECT ${3} AS x`],
  "tags.run": ({ tags }) => tags.run`INSERT INTO t VALUES (${4})`,
  "tags.run of a function": ({ tags }) => tags.run`INSERT INTO t VALUES (${() => {}})`,
  "tags.get of a string": ({ tags }) => tags.get("SELECT 1"),
  "tags.get of nonsense": ({ tags }) => tags.get`NONSENSE`,
  "tags properties": ({ tags, db }) => [tags.size > 0, tags.capacity, tags.db === db],
  "tags.clear": ({ tags }) => [tags.clear(), tags.size],
  createSession: ({ db }) => db.createSession(),
  "createSession of nothing": ({ db }) => db.createSession({ table: 5 }),
  "session.changeset": ({ session }) => session.changeset().length > 0,
  "session.patchset": ({ session }) => session.patchset().length > 0,
  applyChangeset: ({ db, session }) => db.applyChangeset(session.changeset()),
  "applyChangeset of nonsense": ({ db }) => db.applyChangeset(new Uint8Array([1, 2, 3])),
  "applyChangeset of nothing": ({ db }) => db.applyChangeset(),
  "session.close": ({ session }) => session.close(),
  enableLoadExtension: ({ db }) => db.enableLoadExtension(false),
  loadExtension: ({ db }) => db.loadExtension("none"),
  enableDefensive: ({ db }) => db.enableDefensive(true),
  setAuthorizer: ({ db }) => db.setAuthorizer(null),
  serialize: ({ db }) => Buffer.from(db.serialize().subarray(0, 16)).toString(),
  "deserialize of nothing": ({ db }) => db.deserialize(),
  "open again": ({ db }) => db.open(),
  "write[Symbol.dispose]": ({ write }) => write[Symbol.dispose]?.(),
  "write after that": ({ write }) => write.run(1),
};

/** What ends a database comes last. */
const ends: Calls = {
  close: ({ db }) => db.close(),
  "close again": ({ db }) => db.close(),
  "exec after close": ({ db }) => db.exec("SELECT 1"),
  "read after close": ({ read }) => read.get(),
};

export const calls: Record<DriverName, Calls> = {
  "better-sqlite3": { ...better, ...ends },
  "node:sqlite": {
    ...node,
    ...ends,
    "[Symbol.dispose] after close": ({ db }) => db[Symbol.dispose](),
  },
};
