/**
 * What a fenced connection does: everything that reads or writes throws the one failure, until the
 * database is reopened; properties and close() go on working.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { LockstepError } from "../../src/errors.ts";
import { type Any, drivers, isOpen, originals, Pair } from "./pair.ts";

/** Takes the replica's directory away, and gives it back when asked to. */
function takeAway(pair: Pair): () => void {
  const directory = path.dirname(pair.replica);
  fs.renameSync(directory, `${directory}-away`);
  return () => fs.renameSync(`${directory}-away`, directory);
}

function thrown(run: () => unknown): LockstepError {
  try {
    run();
  } catch (error) {
    return error as LockstepError;
  }
  assert.fail("nothing was thrown");
}

interface Fenced {
  readonly db: Any;
  readonly pair: Pair;
  readonly failure: LockstepError;
  readonly giveBack: () => void;
}

/** @param prepare what was there before the failure */
function fence<T>(pair: Pair, prepare: (db: Any) => T): Fenced & { old: T } {
  const db = pair.open();
  db.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)");
  const old = prepare(db);
  const giveBack = takeAway(pair);
  const writer = pair.open(); // for `db` may be busy
  const failure = thrown(() => writer.exec("INSERT INTO t VALUES (4)"));
  assert.ok(failure instanceof LockstepError, String(failure));
  writer.close();
  return { db, pair, failure, giveBack, old };
}

/** Closes, and a new connection finds all that was acknowledged in copies that are equal again. */
function reopen({ db, pair, giveBack }: Fenced): void {
  db.close();
  assert.equal(isOpen(db), false);
  giveBack();
  const again = pair.open();
  assert.equal(again.prepare("SELECT count(*) AS n FROM t WHERE x < 4").get().n, 3);
  again.exec("INSERT INTO t VALUES (5)");
  pair.assertInStep();
  again.close();
}

for (const driver of drivers) {
  const isNode = driver === "node:sqlite";

  describe(driver, () => {
    test("everything throws the failure itself; close() and properties do not", (t) => {
      const pair = new Pair(t, driver);
      const fenced = fence(pair, (db) => {
        const read = db.prepare("SELECT x FROM t");
        const write = db.prepare("INSERT INTO t VALUES (?)");
        const rows = db.prepare("SELECT x FROM t WHERE x > 0").iterate();
        const transaction = isNode ? null : db.transaction(() => assert.fail("it ran"));
        const sql = isNode ? db.createTagStore() : null;
        const session = isNode ? db.createSession() : null;
        if (isNode) sql.get`SELECT 1`;
        return { read, write, rows, transaction, sql, session };
      });
      const { db, failure, old } = fenced;
      const calls: Record<string, () => unknown> = {
        prepare: () => db.prepare("SELECT 1"),
        "exec of a read": () => db.exec("SELECT 1"),
        "exec of a write": () => db.exec("INSERT INTO t VALUES (9)"),
        serialize: () => db.serialize(),
        "run of a writer": () => old.write.run(9),
        "get of a writer": () => old.write.get(9),
        "all of a writer": () => old.write.all(9),
        "get of a reader": () => old.read.get(),
        "all of a reader": () => old.read.all(),
        "run of a reader": () => old.read.run(),
        "iterate of a reader": () => old.read.iterate(),
        "next of a row": () => old.rows.next(),
        "a loop over rows": () => [...old.rows],
        ...(isNode
          ? {
              "tag that reads": () => old.sql.get`SELECT 1`,
              "tag that iterates": () => old.sql.iterate`SELECT 1`,
              "tag that writes": () => old.sql.run`INSERT INTO t VALUES (9)`,
              createTagStore: () => db.createTagStore(),
              createSession: () => db.createSession(),
              changeset: () => old.session.changeset(),
              patchset: () => old.session.patchset(),
              applyChangeset: () => db.applyChangeset(new Uint8Array()),
              deserialize: () => db.deserialize(new Uint8Array()),
            }
          : {
              pragma: () => db.pragma("user_version"),
              explain: () => db.explain("SELECT 1"),
              transaction: () => db.transaction(() => {}),
              "a transaction": () => old.transaction(),
              "an immediate transaction": () => old.transaction.immediate(),
            }),
      };
      for (const [name, call] of Object.entries(calls)) {
        assert.equal(thrown(call), failure, name);
      }
      assert.equal(db.replication.status.failure, failure);
      assert.equal(isOpen(db), true);
      assert.equal(isNode ? db.isTransaction : db.inTransaction, false);
      assert.equal(isNode ? old.read.sourceSQL : old.read.source, "SELECT x FROM t");
      assert.equal(isNode ? db.location() : db.name, pair.primary);
      if (isNode) old.session.close();
      if (isNode) old.write.close();
      reopen(fenced);
      assert.ok(
        thrown(() => old.read.get()),
        "an old statement stays dead",
      );
    });

    test("so do the other connections of this thread", (t) => {
      const pair = new Pair(t, driver);
      const other = pair.open();
      const statement = other.prepare("SELECT 1");
      const fenced = fence(pair, () => {});
      assert.equal(fenced.db.replication, other.replication);
      assert.equal(
        thrown(() => statement.get()),
        fenced.failure,
      );
      assert.equal(
        thrown(() => other.exec("SELECT 1")),
        fenced.failure,
      );
      assert.equal(
        thrown(() => pair.open()),
        fenced.failure,
        "it is not opened a third time",
      );
      other.close();
      reopen(fenced);
    });

    test("an open transaction is rolled back by close()", (t) => {
      const pair = new Pair(t, driver);
      const other = pair.open();
      const fenced = fence(pair, () => {});
      assert.equal(
        thrown(() => other.exec("BEGIN; INSERT INTO t VALUES (9)")),
        fenced.failure,
      );
      other.close();
      reopen(fenced);
    });

    test("rows of a write end with the failure, and keep nothing busy", (t) => {
      const pair = new Pair(t, driver);
      const db = pair.open();
      db.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)");
      const giveBack = takeAway(pair);
      const rows = db.prepare("INSERT INTO t VALUES (4), (5) RETURNING x").iterate();
      const seen: unknown[] = [];
      const failure = thrown(() => {
        for (const { x } of rows) seen.push(x);
      });
      assert.deepEqual(seen, [4, 5]);
      assert.ok(failure instanceof LockstepError, String(failure));
      assert.equal(
        thrown(() => rows.next()),
        failure,
      );
      assert.equal(
        thrown(() => rows.return()),
        failure,
      );
      reopen({ db, pair, failure, giveBack });
    });

    test("a driver's error is the cause, if what was committed before it is lost", (t) => {
      const pair = new Pair(t, driver);
      const db = pair.open();
      db.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)");
      const giveBack = takeAway(pair);
      const failure = thrown(() => db.exec("INSERT INTO t VALUES (4); SELECT * FROM missing"));
      const known = db.replication.status.failure;
      assert.ok(failure instanceof LockstepError, String(failure));
      assert.equal(failure.message, known.message);
      assert.match((failure.cause as Error).message, /no such table: missing/);
      assert.equal(
        thrown(() => db.exec("SELECT 1")),
        known,
      );
      reopen({ db, pair, failure, giveBack });
    });

    test("a close that cannot make the last commits durable says so, and closes", (t) => {
      const pair = new Pair(t, driver);
      const db = pair.open();
      db.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)");
      originals[driver].prototype.exec.call(db, "INSERT INTO t VALUES (4)"); // past our gate
      const giveBack = takeAway(pair);
      const failure = thrown(() => db.close());
      assert.ok(failure instanceof LockstepError, String(failure));
      assert.equal(isOpen(db), false);
      giveBack();
      const again = pair.open();
      assert.equal(again.prepare("SELECT count(*) AS n FROM t").get().n, 4);
    });

    test("the event comes once", async (t) => {
      const pair = new Pair(t, driver);
      const events: unknown[] = [];
      const fenced = fence(pair, (db) =>
        db.replication.on("failed", (error: unknown) => events.push(error)),
      );
      thrown(() => fenced.db.exec("SELECT 1"));
      assert.deepEqual(events, [fenced.failure]);
      await assert.rejects(fenced.db.replication.durable(), fenced.failure);
      reopen(fenced);
    });
  });
}

test("backup() of node:sqlite and of better-sqlite3 do not read a fenced database", async (t) => {
  const { backup } = await import("../../src/index.ts");
  for (const driver of drivers) {
    const pair = new Pair(t, driver);
    const fenced = fence(pair, () => {});
    const to = `${pair.primary}-backup`;
    const { db, failure } = fenced;
    await assert.rejects(
      async () => (driver === "node:sqlite" ? backup(db, to) : db.backup(to)),
      failure,
    );
    assert.equal(fs.existsSync(to), false);
    reopen(fenced);
  }
});
