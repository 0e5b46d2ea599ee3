/**
 * "Drop-in", shown: every method in every state has the same outcome with the original, with ours,
 * and with ours and a replica. What differs with a replica is listed here, each with its reason; the
 * state "fenced" is fence.test.ts.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { inspect } from "node:util";
import type { DriverName } from "../../src/driver.ts";
import { scratch } from "../scratch.ts";
import { assertAtRest } from "../support/files.ts";
import { calls, type Subject } from "./calls.ts";
import { type Any, drivers, dropIns, isOpen, originals } from "./pair.ts";

/** With a replica these have another outcome, for this reason. */
const differs: Record<string, { outcome: RegExp; reason: string }> = {
  "deserialize of nothing": {
    outcome: /LockstepError ERR_LOCKSTEP_OWNED .*deserialize\(\) is refused/,
    reason: "it would replace what is replicated; that is said before the arguments are looked at",
  },
};

interface State {
  readonly path?: string;
  readonly options?: (driver: DriverName) => object;
  /** Brings the database into the state, and again before each call. */
  readonly keep?: (subject: Subject) => void;
  /** Is there anything to replicate? */
  readonly replicated: boolean;
}

const states: Record<string, State> = {
  open: { replicated: true },
  closed: { replicated: true, keep: ({ db }) => isOpen(db) && db.close() },
  "in a transaction": {
    replicated: true,
    keep: ({ db }) => isOpen(db) && !inTransaction(db) && db.exec("BEGIN"),
  },
  iterating: { replicated: true, keep: iterate },
  "read-only": {
    replicated: false,
    options: (driver) => (driver === "node:sqlite" ? { readOnly: true } : { readonly: true }),
  },
  "in memory": { replicated: false, path: ":memory:" },
};

for (const driver of drivers) {
  for (const [name, state] of Object.entries(states)) {
    describe(`${driver}, ${name}`, () => {
      test("without a replica", async (t) => {
        const expected = await outcomes(t, driver, state, originals[driver], {});
        const ours = await outcomes(t, driver, state, dropIns[driver], {});
        assert.deepEqual(differences(expected, ours), {});
      });

      test(state.replicated ? "with a replica" : "though a replica is named", async (t) => {
        const directory = scratch(t);
        const replicas = [path.join(directory, "copy.db")];
        const expected = await outcomes(t, driver, state, originals[driver], {});
        const ours = await outcomes(t, driver, state, dropIns[driver], { replicas }, (primary) => {
          if (state.replicated) assertAtRest(primary, replicas);
          else assert.deepEqual(fs.readdirSync(directory), [], "nothing was replicated");
        });
        const known = state.replicated ? differs : {};
        assert.deepEqual(differences(expected, ours, known), {});
      });
    });
  }
}

type Outcomes = Record<string, string>;

/** The calls with different outcomes: what was expected, and what came. */
function differences(expected: Outcomes, ours: Outcomes, known: typeof differs = {}) {
  return Object.fromEntries(
    Object.entries(ours)
      .filter(([call, outcome]) => outcome !== expected[call])
      .filter(([call, outcome]) => !known[call]?.outcome.test(outcome))
      .map(([call, outcome]) => [call, [expected[call], outcome]]),
  );
}

/** What each call came to, on a fresh database in that state. */
async function outcomes(
  t: TestContext,
  driver: DriverName,
  state: State,
  Database: Any,
  options: object,
  atRest: (primary: string) => void = () => {},
): Promise<Outcomes> {
  const directory = fs.realpathSync(scratch(t));
  const file = state.path ?? path.join(directory, "app.db");
  if (!state.path) prepareFile(file);
  const Original = originals[driver];
  const db = new Database(file, { ...state.options?.(driver), ...options });
  if (state.path) db.exec("CREATE TABLE t (x); CREATE TABLE k (x INTEGER PRIMARY KEY)");
  const made = { db, file, directory, Database, Original };
  const subject = { ...made, ...makeObjects(driver, db) };
  const found: Outcomes = {};
  for (const [name, call] of Object.entries(calls[driver])) {
    state.keep?.(subject);
    found[name] = (await outcomeOf(() => call(subject), db)).replaceAll(file, "FILE");
    if (db.unsafeMode && isOpen(db)) letGo(subject);
  }
  if (isOpen(db)) db.close();
  atRest(file);
  return found;
}

/** In WAL mode, since that is what a replicated database is in. */
function prepareFile(file: string): void {
  const db = new originals["node:sqlite"](file);
  db.exec("PRAGMA journal_mode=WAL; CREATE TABLE t (x); CREATE TABLE k (x INTEGER PRIMARY KEY)");
  db.close();
}

function makeObjects(driver: DriverName, db: Any) {
  const isNode = driver === "node:sqlite";
  const session = isNode && db.createSession({ table: "k" });
  tryTo(() => db.exec("INSERT INTO t VALUES (1), (2), (3), (4); INSERT INTO k VALUES (1)"));
  return {
    session,
    read: db.prepare("SELECT x FROM t LIMIT 3"),
    write: db.prepare("INSERT INTO t VALUES (?)"),
    returning: db.prepare("INSERT INTO t VALUES (?) RETURNING x"),
    rows: isNode ? db.prepare("SELECT x FROM t").iterate() : [][Symbol.iterator](),
    transaction: isNode || db.transaction((x: number) => db.prepare("SELECT ? AS x").get(x)),
    tags: isNode && db.createTagStore(),
  };
}

/** Rows of a read that are not at their end. */
const open = new WeakMap<object, Any>();

function iterate({ db }: Subject): void {
  if (!isOpen(db) || open.has(db)) return;
  const rows = db.prepare("VALUES (1), (2), (3)").iterate();
  rows.next();
  open.set(db, rows);
}

/** Before the next call iterate() begins anew: a call may have closed better-sqlite3's iterator. */
function letGo({ db }: Subject): void {
  open.get(db)?.return();
  open.delete(db);
}

async function outcomeOf(call: () => unknown, db: Any): Promise<string> {
  try {
    const value = call();
    if (value instanceof Promise) return `promise of ${show(await value, db)}`;
    return show(value, db);
  } catch (error) {
    const { name, code, message } = error as NodeJS.ErrnoException;
    return `${(error as Error).constructor.name} ${name} ${code} ${message}`;
  }
}

function show(value: unknown, db: Any): string {
  return value === db ? "the database" : inspect(value, { depth: 3, getters: false });
}

function inTransaction(db: Any): boolean {
  return db.isTransaction ?? db.inTransaction;
}

function tryTo(run: () => void): void {
  try {
    run();
  } catch {} // a read-only one has no rows
}
