/**
 * Another program, in a process of its own and without Lockstep, touches a copy that is in use.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { driversOr } from "../support/drivers.ts";
import { elsewhere } from "../support/program.ts";
import { failed, ok, Pair } from "./pair.ts";
import { type Call, skip } from "./shim.ts";

/** What the other program does. The test's own process is that program. */
function other<T>(file: string, work: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(file, { timeout: 200 });
  try {
    return work(db);
  } finally {
    db.close();
  }
}

const write = (n: number) => (db: DatabaseSync) => db.exec(`INSERT INTO t VALUES (${n}, 'other')`);
const checkpoint = (mode: string) => (db: DatabaseSync) =>
  db.prepare(`PRAGMA wal_checkpoint(${mode})`).all();

for (const driver of driversOr("node:sqlite")) {
  describe(`the primary, with ${driver}`, { skip, concurrency: 2 }, () => {
    test("is written: the next commit carries it along", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      other(pair.primary, write(1001));
      ok(await pair.insert());
      pair.acknowledged.add(1001);
      pair.holdsAcknowledged(pair.replica);
      ok(await pair.close());
      await pair.atRest();
    });

    test("is written: the close carries it along", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      other(pair.primary, write(1001));
      pair.acknowledged.add(1001);
      ok(await pair.close());
      await pair.atRest();
    });

    test("is written, and this process is killed: the start carries it along", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      other(pair.primary, write(1001));
      pair.acknowledged.add(1001);
      await pair.restart();
      await pair.recovers();
    });

    for (const mode of ["PASSIVE", "FULL", "RESTART", "TRUNCATE"]) {
      test(`is checkpointed (${mode}): nothing is lost sight of`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        other(pair.primary, checkpoint(mode));
        ok(await pair.insert());
        other(pair.primary, checkpoint(mode));
        ok(await pair.insert());
        pair.holdsAcknowledged(pair.replica);
        ok(await pair.close());
        await pair.atRest();
      });

      test(`is checkpointed (${mode}), and this process is killed`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        other(pair.primary, checkpoint(mode));
        await pair.restart();
        pair.holdsAcknowledged(pair.primary);
        pair.holdsAcknowledged(pair.replica);
        await pair.recovers();
      });

      test(`is checkpointed (${mode}) before a commit that fails`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        other(pair.primary, checkpoint(mode));
        pair.faults.set({ on: "write", path: "replica/app.db-wal", does: { error: "EIO" } });
        failed(await pair.insert(), "REPLICA_IO");
        ok(await pair.close());
        await pair.recovers();
      });

      test(`is checkpointed (${mode}) when all is folded: the next commit goes on`, async (t) => {
        const pair = new Pair(t, driver, { checkpointBytes: 1 });
        await pair.begin();
        other(pair.primary, checkpoint(mode));
        ok(await pair.insert());
        other(pair.primary, checkpoint(mode));
        ok(await pair.close());
        await pair.atRest();
      });
    }

    test("is written and checkpointed when all is folded: it is carried along, too", async (t) => {
      const pair = new Pair(t, driver, { checkpointBytes: 1 });
      await pair.begin();
      other(pair.primary, (db) => [write(1001)(db), checkpoint("TRUNCATE")(db)]);
      other(pair.primary, (db) => [write(1002)(db), checkpoint("TRUNCATE")(db)]);
      ok(await pair.insert());
      for (const n of [1001, 1002]) pair.acknowledged.add(n);
      pair.holdsAcknowledged(pair.replica);
      ok(await pair.close());
      await pair.atRest();
    });

    test("is written and checkpointed in a generation that has just begun: carried along", async (t) => {
      const pair = new Pair(t, driver, { checkpointBytes: 30_000 });
      await pair.begin();
      ok(await pair.insert(30_000)); // folded: the next commit begins a generation
      ok(await pair.insert());
      elsewhere(pair.primary, [
        "INSERT INTO t VALUES (1001, 'theirs')",
        "PRAGMA wal_checkpoint(TRUNCATE)",
      ]);
      ok(await pair.insert());
      pair.acknowledged.add(1001);
      pair.holdsAcknowledged(pair.replica);
      ok(await pair.close());
      await pair.atRest();
    });

    test("is folded and its log begun anew, our locks being lost: PRIMARY_CHANGED", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      // What a program does to itself that opens and closes the raw files.
      for (const suffix of ["", "-shm"]) {
        ok(await pair.subject.ask({ do: "open and close", file: pair.primary + suffix }));
      }
      const theirs = "INSERT INTO t VALUES (1001, 'theirs')";
      elsewhere(pair.primary, ["PRAGMA wal_checkpoint(RESTART)", theirs], { killed: true });
      failed(await pair.insert(), "PRIMARY_CHANGED");
      ok(await pair.close());
      pair.holdsAcknowledged(pair.replica);
    });

    for (const inserts of [1, 2]) {
      test(`has ${inserts} commits overwritten: PRIMARY_CHANGED, and no false acknowledgement`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        const header = fs.readFileSync(`${pair.primary}-shm`).subarray(0, 96);
        for (let i = 0; i < inserts; i++) ok(await pair.insert());
        // What a program does that has lost its locks: go on from where the log ended before.
        const shm = fs.openSync(`${pair.primary}-shm`, "r+");
        fs.writeSync(shm, header, 0, header.length, 0);
        fs.closeSync(shm);
        failed(await pair.insert(), "PRIMARY_CHANGED");
        ok(await pair.close());
        pair.holdsAcknowledged(pair.replica);
        failed(await pair.open(), "DIVERGED");
      });
    }

    test("is written when all is folded: the next commit carries it along", async (t) => {
      const pair = new Pair(t, driver, { checkpointBytes: 1 });
      await pair.begin();
      other(pair.primary, write(1001));
      ok(await pair.insert());
      pair.acknowledged.add(1001);
      pair.holdsAcknowledged(pair.replica);
      ok(await pair.close());
      await pair.atRest();
    });

    test("is to be taken out of WAL mode: the other program is refused", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      assert.throws(() => other(pair.primary, (db) => db.exec("PRAGMA journal_mode=DELETE")), {
        errcode: 5,
      });
      ok(await pair.insert());
      ok(await pair.close());
      await pair.atRest();
    });
  });

  describe(`the replica, with ${driver}`, { skip, concurrency: 2 }, () => {
    test("is opened read-write and closed: its log stays", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      const rows = other(pair.replica, (db) => db.prepare("SELECT n FROM t").all());
      assert.equal(rows.length, 3);
      ok(await pair.insert());
      pair.holdsAcknowledged(pair.replica);
      ok(await pair.close());
      await pair.atRest();
    });

    test("is to be taken out of WAL mode: the other program is refused", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      assert.throws(() => other(pair.replica, (db) => db.exec("PRAGMA journal_mode=DELETE")), {
        errcode: 5,
      });
      ok(await pair.insert());
      ok(await pair.close());
      await pair.atRest();
    });

    for (const mode of ["PASSIVE", "FULL", "RESTART", "TRUNCATE"]) {
      test(`is checkpointed (${mode}): it goes on`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        other(pair.replica, checkpoint(mode));
        ok(await pair.insert());
        pair.holdsAcknowledged(pair.replica);
        ok(await pair.close());
        await pair.atRest();
      });

      test(`is checkpointed (${mode}), and this process is killed`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        other(pair.replica, checkpoint(mode));
        await pair.restart();
        await pair.recovers();
      });
    }

    test("has its file written while its log is empty: REPLICA_CHANGED", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      ok(await pair.close());
      pair.faults.clear();
      ok(await pair.open());
      // Its thread has it by now, and does not look at the file again before a log begins.
      const isWatched = ({ kind, path, result }: Call) =>
        kind === "open" && path === "replica/app.db-wal" && result >= 0;
      while (!pair.record().some(isWatched)) {
        ok(await pair.subject.ask({ do: "turn", milliseconds: 10 }));
      }
      const fd = fs.openSync(pair.replica, "r+");
      fs.writeSync(fd, "rot", fs.fstatSync(fd).size - 3);
      fs.closeSync(fd);
      failed(await pair.insert(), "REPLICA_CHANGED");
      ok(await pair.close());
      pair.holdsAcknowledged(pair.primary);
    });

    for (const [what, bytes] of [
      ["to nothing", 0],
      ["in the middle", 5000],
    ] as const) {
      test(`has its log cut ${what}: REPLICA_CHANGED`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        fs.truncateSync(`${pair.replica}-wal`, bytes);
        failed(await pair.insert(), "REPLICA_CHANGED");
        ok(await pair.close());
        pair.holdsAcknowledged(pair.primary);
      });

      test(`has its log cut ${what} before a close: said there`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        fs.truncateSync(`${pair.replica}-wal`, bytes);
        failed(await pair.close(), "REPLICA_CHANGED");
        pair.holdsAcknowledged(pair.primary);
      });
    }

    test("is written: REPLICA_CHANGED, and the start refuses to guess", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      other(pair.replica, write(1001));
      failed(await pair.insert(), "REPLICA_CHANGED");
      ok(await pair.close());
      pair.holdsAcknowledged(pair.primary);
      failed(await pair.open(), "DIVERGED");
      pair.holdsAcknowledged(pair.primary); // nothing foreign came back
    });

    test("is written in a transaction that spans a commit: REPLICA_CHANGED", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      const db = new DatabaseSync(pair.replica, { timeout: 200 });
      db.exec("BEGIN IMMEDIATE");
      write(1001)(db);
      ok(await pair.insert(20_000)); // more frames than the other program has
      db.exec("COMMIT"); // over the first of them
      failed(await pair.insert(), "REPLICA_CHANGED");
      db.close();
      ok(await pair.close());
      pair.holdsAcknowledged(pair.primary);
      failed(await pair.open(), "DIVERGED");
    });

    test("is written in a transaction that spans the last commit: said in the close", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      const db = new DatabaseSync(pair.replica, { timeout: 200 });
      db.exec("BEGIN IMMEDIATE");
      write(1001)(db);
      ok(await pair.insert(20_000));
      db.exec("COMMIT");
      failed(await pair.close(), "REPLICA_CHANGED");
      db.close();
      failed(await pair.open(), "DIVERGED");
      pair.holdsAcknowledged(pair.primary);
    });

    test("is written before a close: REPLICA_CHANGED", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      other(pair.replica, write(1001));
      failed(await pair.close(), "REPLICA_CHANGED");
      failed(await pair.open(), "DIVERGED");
      pair.holdsAcknowledged(pair.primary);
    });

    test("loses its log: REPLICA_GONE", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      fs.rmSync(`${pair.replica}-wal`);
      failed(await pair.insert(), "REPLICA_GONE");
      ok(await pair.close());
      await pair.recovers();
    });

    test("loses its log before a close: REPLICA_GONE", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      fs.rmSync(`${pair.replica}-wal`);
      failed(await pair.close(), "REPLICA_GONE");
      await pair.recovers();
    });

    test("is replaced by another file: REPLICA_GONE", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      fs.copyFileSync(pair.replica, `${pair.replica}-copy`);
      fs.renameSync(`${pair.replica}-copy`, pair.replica);
      failed(await pair.insert(), "REPLICA_GONE");
      ok(await pair.close());
    });
  });
}
