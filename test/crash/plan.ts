/**
 * What the process under test writes: transaction n is a function of the seed, n and the database's
 * contents alone. So a plain database that repeats transactions 1 to n is the oracle: a copy that
 * says it holds n must hold exactly what the oracle holds.
 *
 * Transaction 1 creates the tables. Each one adds its number to the table `done`; the highest
 * number there is how far a copy has come.
 */
import { Random } from "./random.ts";

export type Value = number | string | Uint8Array;
/** One statement and its parameters. */
export type Statement = readonly [sql: string, ...parameters: Value[]];

/** How a call of the application carries its transactions. */
export type Shape =
  /** BEGIN, one call a statement, COMMIT. */
  | "statements"
  /** One `exec` with everything between BEGIN and COMMIT, perhaps several transactions. */
  | "exec"
  /** `exec("BEGIN; …; COMMIT; BEGIN; …")`: commits, ends inside a transaction that is dropped. */
  | "exec-and-begin"
  /** better-sqlite3's `transaction()`. */
  | "wrapped"
  /** One statement that commits by itself, read with `get`, `all` or `iterate`. */
  | "returning";

/** One call that is acknowledged as a whole: transactions `first` to `last`. */
export interface Call {
  readonly first: number;
  readonly last: number;
  readonly shape: Shape;
  /** Changes no contents and cannot be part of a transaction: run before the call. */
  readonly before: string | null;
}

export function callAt(seed: number, first: number): Call {
  const random = new Random(seed, first, 1);
  const shape = random.pick<Shape>([
    "statements",
    "statements",
    "exec",
    "exec-and-begin",
    "wrapped",
  ]);
  const several = shape === "exec" && random.oneIn(2);
  const before = random.oneIn(80)
    ? "VACUUM"
    : random.oneIn(60)
      ? random.pick(["PRAGMA incremental_vacuum(5)", "ANALYZE", "REINDEX", "PRAGMA optimize"])
      : null;
  // The tables do not exist yet: nothing to choose from.
  if (first === 1) return { first, last: 1, shape: "statements", before: null };
  if (isAlone(seed, first)) return { first, last: first, shape: "returning", before };
  return { first, last: first + (several ? random.between(1, 3) : 0), shape, before };
}

/** The statements of transaction n, without BEGIN and COMMIT. */
export function transactionAt(seed: number, n: number): Statement[] {
  if (n === 1) return [...schema.map((sql): Statement => [sql]), done(n, "schema")];
  if (isAlone(seed, n)) return [done(n, "alone")];
  const random = new Random(seed, n, 2);
  const parts = random.oneIn(4) ? random.between(2, 6) : 1;
  const statements = [done(n, `${parts} parts`)];
  for (let i = 0; i < parts; i++) statements.push(...random.pick(bodies)(random, n));
  return statements;
}

/** Is transaction n a single statement? */
function isAlone(seed: number, n: number): boolean {
  return new Random(seed, n, 3).oneIn(6);
}

function done(n: number, note: string): Statement {
  return ["INSERT INTO done VALUES (?, ?)", n, note];
}

const extraTables = 4;

/** A trigger, a table without rowid, an index and a full-text index: more pages for each change. */
const schema = [
  "CREATE TABLE done (n INTEGER PRIMARY KEY, note TEXT)",
  "CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER, name TEXT, data BLOB)",
  "CREATE INDEX item_name ON item (name)",
  "CREATE TABLE total (key TEXT PRIMARY KEY, items INTEGER) WITHOUT ROWID",
  `CREATE TRIGGER count_item AFTER INSERT ON item BEGIN
     INSERT INTO total VALUES (new.name, 1) ON CONFLICT DO UPDATE SET items = items + 1;
   END`,
  "CREATE VIRTUAL TABLE words USING fts5 (text)",
];

const insertItem = "INSERT INTO item (n, name, data) VALUES (?, ?, ?)";
const insertMany = `INSERT INTO item (n, name, data)
  WITH RECURSIVE i (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < ?)
  SELECT ?, 'many ' || (i % 17), printf('%.*c', ?, 'm') FROM i`;

const bodies: ((random: Random, n: number) => Statement[])[] = [
  function small(random, n) {
    return [[insertItem, n, `name ${random.below(50)}`, random.bytes(random.below(60))]];
  },
  function blob(random, n) {
    return [[insertItem, n, "blob", random.bytes(random.between(500, 30_000))]];
  },
  function many(random, n) {
    return [[insertMany, random.between(10, 400), n, random.between(1, 300)]];
  },
  function update(random, n) {
    const step = random.between(2, 40);
    return [["UPDATE item SET n = ?, name = name || '.' WHERE id % ? = ?", n, step, n % step]];
  },
  function remove(random, n) {
    const step = random.between(2, 10);
    // Kept small, so that a run is about crashes and not about size.
    return [
      ["DELETE FROM item WHERE id % ? = ?", step, n % step],
      ["DELETE FROM item WHERE id < (SELECT max(id) - 2000 FROM item)"],
    ];
  },
  function table(random, n) {
    const name = `extra_${random.below(extraTables)}`;
    return [
      [`DROP TABLE IF EXISTS ${name}`],
      [`CREATE TABLE ${name} (a, b)`],
      [`ALTER TABLE ${name} ADD COLUMN c DEFAULT ${n}`],
      [`CREATE INDEX ${name}_b ON ${name} (b)`],
      [
        `INSERT INTO ${name} (a, b) SELECT id, name FROM item ORDER BY id LIMIT ?`,
        random.below(200),
      ],
    ];
  },
  function drop(random) {
    return [[`DROP TABLE IF EXISTS extra_${random.below(extraTables)}`]];
  },
  function savepoint(random, n) {
    // Enough pages to spill the cache: frames that reach the log and are never committed.
    return [
      ["SAVEPOINT undone"],
      [insertMany, random.between(10, 2000), n, random.between(1, 500)],
      ["ROLLBACK TO undone"],
      ["RELEASE undone"],
      [insertItem, n, "after a savepoint", random.bytes(10)],
    ];
  },
  function header(_, n) {
    return [[`PRAGMA user_version = ${n}`]];
  },
  function text(random, n) {
    return [
      ["INSERT INTO words VALUES (?)", `word${random.below(30)} word${random.below(30)} ${n}`],
    ];
  },
];
