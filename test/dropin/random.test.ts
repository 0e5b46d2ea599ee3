/**
 * Goal: whatever an application does, when a call is over the replica holds what the primary has
 * committed.
 * Method: random programs of statements, transactions, savepoints, iterators left in the middle and
 * errors, on two connections; after each call the last commits of both logs are compared, and at the
 * end the copies. Replay: SEED=<seed> npx node --test test/dropin/random.test.ts
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { runs, seed } from "../support/seed.ts";
import { type Any, drivers, Pair } from "./pair.ts";

interface World {
  readonly pair: Pair;
  readonly dbs: Any[];
  /** Iterators in the middle of something. */
  readonly rows: Any[];
  readonly statements: Any[];
}

/** A call by its name, and the call. `n` picks one of what there is. */
type Step = readonly [what: string, act: (world: World, n: number) => unknown];

const options = { checkpointBytes: 30_000, timeout: 0 };

const scripts = [
  ...[
    "BEGIN",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "RELEASE a",
    "ROLLBACK TO a",
  ],
  ...["COMMIT; BEGIN", "BEGIN; INSERT INTO t VALUES (1, 'x'); COMMIT; BEGIN", "SELECT * FROM t"],
  ...["INSERT INTO t (x) VALUES (2); INSERT INTO u VALUES (1), (1)", "PRAGMA user_version = 7"],
  ...["INSERT OR FAIL INTO u VALUES (5), (6), (5)", "INSERT OR ROLLBACK INTO u VALUES (5)"],
  ...["DELETE FROM u", "INSERT INTO t SELECT 1, hex(randomblob(3000))", "CREATE TABLE v (x)"],
  ...[
    "DROP TABLE v",
    "VACUUM",
    "REINDEX",
    "nonsense",
    "",
    "INSERT INTO t (x) VALUES (3); nonsense",
  ],
];

const prepared = [
  ...["INSERT INTO t (x) VALUES (4)", "INSERT INTO t (x) VALUES (5), (6) RETURNING x", "COMMIT"],
  ...["SELECT x FROM t LIMIT 3", "UPDATE t SET x = x + 1 WHERE x < 3 RETURNING x", "BEGIN"],
  ...["WITH a AS (SELECT 7) INSERT INTO u SELECT * FROM a", "DELETE FROM t WHERE x > 100"],
];

const pick = <T>(all: readonly T[], n: number): T | undefined => all[n % all.length];

const common: Step[] = [
  ...scripts.map((sql): Step => [`exec ${sql}`, ({ dbs }, n) => pick(dbs, n).exec(sql)]),
  ...prepared.map(
    (sql): Step => [
      `prepare ${sql}`,
      ({ dbs, statements }, n) => statements.push(pick(dbs, n).prepare(sql)),
    ],
  ),
  ...["run", "get", "all", "run", "all"].map(
    (name): Step => [name, ({ statements }, n) => pick(statements, n)?.[name]()],
  ),
  ["iterate", ({ statements, rows }, n) => rows.push(pick(statements, n)?.iterate())],
  ["next", ({ rows }, n) => pick(rows, n)?.next()],
  ["to the end", ({ rows }, n) => [...(pick(rows, n) ?? [])]],
  ["return", ({ rows }, n) => pick(rows, n)?.return()],
  ["return all", ({ rows }) => endAll(rows)],
  ["forget the statements", ({ statements }) => void (statements.length = 0)],
  [
    "close and open",
    ({ pair, dbs }, n) => {
      pick(dbs, n).close();
      dbs[n % dbs.length] = pair.open(options);
    },
  ],
];

const own: Record<string, Step[]> = {
  "node:sqlite": [
    ["tags", ({ dbs }, n) => pick(dbs, n).createTagStore().run`INSERT INTO t (x) VALUES (${n})`],
    // With better-sqlite3 the connection would stay busy for ever.
    ["forget the rows", ({ rows }) => void (rows.length = 0)],
    ["close a statement", ({ statements }, n) => pick(statements, n)?.close()],
  ],
  "better-sqlite3": [
    ["pragma", ({ dbs }, n) => pick(dbs, n).pragma(`user_version = ${n}`)],
    ...["deferred", "immediate"].map(
      (variant): Step => [
        `transaction ${variant}`,
        (world, n) => {
          const db = pick(world.dbs, n);
          db.transaction(() => {
            db.exec("INSERT INTO t (x) VALUES (8)");
            db.transaction(() => db.prepare(pick(prepared, n) as string).run())();
            if (n % 3 === 0) throw new Error("not this one");
          })[variant]();
        },
      ],
    ),
    ["unsafe mode", ({ dbs }, n) => pick(dbs, n).unsafeMode(n % 2 === 0)],
  ],
};

for (const driver of drivers) {
  test(`${driver}: after each call the copies are in step (seed ${seed})`, (t) => {
    const all = [...common, ...(own[driver] as Step[])];
    const step = fc.tuple(fc.nat(all.length - 1), fc.nat(100));
    const pair = new Pair(t, driver);
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
        const world = start(pair);
        try {
          for (const [i, n] of steps) {
            const [what, act] = all[i] as Step;
            const error = errorOf(() => act(world, n));
            assert.ok(!/lockstep/i.test(String(error)), `${what}: ${error}`);
            assert.equal(pair.committed("replica"), pair.committed("primary"), what);
          }
        } finally {
          end(world);
        }
      }),
      { seed, numRuns: runs(10), endOnFailure: true },
    );
  });
}

function start(pair: Pair): World {
  const dbs = [pair.open(options), pair.open(options)];
  dbs[0].exec(
    "DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS u; DROP TABLE IF EXISTS v;" +
      "CREATE TABLE t (x, y); CREATE TABLE u (x UNIQUE); INSERT INTO t (x) VALUES (1), (2), (3)",
  );
  return { pair, dbs, rows: [], statements: [] };
}

function end({ dbs, rows }: World): void {
  endAll(rows);
  for (const db of dbs) db.close();
}

function endAll(rows: Any[]): void {
  for (const each of rows.splice(0)) errorOf(() => each?.return());
}

function errorOf(run: () => unknown): unknown {
  try {
    run();
    return null;
  } catch (error) {
    return error;
  }
}
