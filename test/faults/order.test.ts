/**
 * What must be on stable storage before what. The library records every call with its beginning and
 * end; "before" means: ended before the other began.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, test } from "node:test";
import { DRIVERS, driversOr } from "../support/drivers.ts";
import { logEnd } from "../support/files.ts";
import { calls } from "./calls.ts";
import { failed, ok, Pair } from "./pair.ts";
import { leftByAnother, scenarios } from "./scenarios.ts";
import { type Call, skip } from "./shim.ts";

const LOGS = ["main/app.db-wal", "replica/app.db-wal"];

for (const driver of DRIVERS) {
  describe(`what is acknowledged, with ${driver}`, { skip, concurrency: 2 }, () => {
    test("an acknowledged commit was synced in both logs after its last byte", async (t) => {
      const pair = new Pair(t, driver, { checkpointBytes: 60_000 });
      await pair.begin();
      for (const log of LOGS) {
        pair.faults.set({ on: "sync", path: log, times: 5, does: { delay: 20 } });
        for (let i = 0; i < 5; i++) ok(await pair.insert());
      }
      for (let i = 0; i < 20; i++) ok(await pair.insert(i * 1000));
      ok(await pair.insert(20 << 20)); // in pieces
      const record = calls(pair);
      const marks = record.where("write", "process/acknowledged");
      assert.equal(marks.length, pair.acknowledged.size);
      for (const mark of marks) {
        for (const log of LOGS) {
          const written = record.before(mark).where("write", log).filter(isCommit).last();
          const synced = record.before(mark).where("sync", log).last();
          assert.ok(written.end <= synced.begin, `${log} was synced after it was written`);
          assert.equal(synced.result, 0);
        }
      }
      ok(await pair.close());
      await pair.atRest();
    });

    test("durable() is answered after both logs were synced after its last byte", async (t) => {
      const pair = new Pair(t, driver, { durability: "barrier", checkpointBytes: 60_000 });
      await pair.begin();
      for (const log of LOGS) {
        pair.faults.set({ on: "sync", path: log, times: 5, does: { delay: 20 } });
        for (let i = 0; i < 5; i++) ok(await pair.insert());
      }
      for (let i = 0; i < 20; i++) ok(await pair.insert(i * 1000));
      ok(await pair.insert(20 << 20));
      const record = calls(pair);
      for (const mark of record.where("write", "process/acknowledged")) {
        for (const log of LOGS) {
          const written = record.before(mark).where("write", log).filter(isCommit).last();
          const synced = record.before(mark).where("sync", log).last();
          assert.ok(written.end <= synced.begin, `${log} was synced after it was written`);
        }
      }
      ok(await pair.close());
      await pair.atRest();
    });
  });
}

for (const driver of driversOr("node:sqlite")) {
  describe(`with ${driver}`, { skip, concurrency: 2 }, () => {
    test("the locks are taken before a copy or its log is touched", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      for (const copy of ["main", "replica"]) {
        const [locked] = calls(pair)
          .where("lock", `${copy}/app.db-lockstep`)
          .filter(({ detail, result }) => detail.startsWith("write") && result === 0);
        assert.ok(locked);
        const touched = calls(pair).filter(({ path }) => {
          return path === `${copy}/app.db` || path === `${copy}/app.db-wal`;
        });
        for (const call of touched) assert.ok(locked.end < call.begin, `${call.kind} ${call.path}`);
      }
    });

    test("a first copy: synced, recorded, named, its directory synced, then used", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      const record = calls(pair);
      const fresh = "replica/app.db-lockstep-new";
      const named = record.where("rename", "replica/app.db").only();
      assert.equal(named.detail, `${pair.faults.root}/${fresh}`);
      record.inOrder(
        record.where("write", fresh).last(),
        record.where("sync", fresh).last(),
        record.before(named).where("sync", "replica/app.db-lockstep-journal").last(),
        named,
        record.after(named).where("sync", "replica").first(),
        record.where("open", "replica/app.db-wal").filter(made).first(),
        record.where("write", "replica/app.db-wal").first(),
      );
      const recorded = record.after(record.where("sync", fresh).last()).before(named);
      assert.ok(
        recorded.where("write", "replica/app.db-lockstep").length > 0,
        "the record is made",
      );
    });

    test("a log's name is durable before anything is written to it", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      const record = calls(pair);
      for (const copy of ["main", "replica"]) {
        const log = `${copy}/app.db-wal`;
        const opened = record.where("open", log).filter(made).first();
        const written = record.where("write", log).first();
        assert.ok(record.after(opened).before(written).where("sync", copy).length > 0, copy);
        assert.ok(record.where("unlink", log).length === 0);
      }
    });

    test("a log that a killed process made has a durable name before it is used", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      await pair.restart();
      pair.faults.clear();
      ok(await pair.open());
      const opened = calls(pair);
      for (const copy of ["main", "replica"]) {
        // Its record's journal is synced with the directory, too, but before the log is even opened.
        const log = opened.where("open", `${copy}/app.db-wal`).filter(made).first();
        assert.ok(opened.after(log).where("sync", copy).length > 0, copy);
      }
    });

    test("a log restarts only over files that hold all of the one before", async (t) => {
      const pair = new Pair(t, driver, { checkpointBytes: 1 });
      await pair.begin();
      for (let i = 0; i < 3; i++) ok(await pair.insert(9000));
      const record = calls(pair);
      for (const copy of ["main", "replica"]) {
        const log = `${copy}/app.db-wal`;
        const starts = record.where("write", log).filter(isHeader);
        assert.ok(starts.length >= 4, "there were generations");
        for (const [i, start] of [...starts].entries()) {
          if (i === 0) continue;
          const life = record.after([...starts][i - 1]!).before(start);
          const frames = life.where("write", log).length > 0 ? life.where("write", log) : null;
          const last = frames?.last() ?? [...starts][i - 1]!;
          const logged = life.after(last).where("sync", log).first();
          const folded = life.after(logged).where("write", `${copy}/app.db`);
          const synced = life.where("sync", `${copy}/app.db`).last();
          record.inOrder(last, logged, folded.first());
          record.inOrder(folded.last(), synced);
          // What the file holds is recorded after it was synced, mark and all, and before the log
          // begins anew.
          const stamped = life.after(folded.last()).where("utimens", `${copy}/app.db`).first();
          const marked = life.after(stamped).where("sync", `${copy}/app.db`).first();
          const amended = `${copy}/app.db-lockstep-amended`;
          const noted = life.after(stamped).where("write", amended);
          const kept = life.after(noted.first()).where("sync", amended).first();
          record.inOrder(folded.last(), stamped, marked, noted.first(), kept);
        }
      }
    });

    test("no log restarts before every copy's file holds all of it, and that is on record", async (t) => {
      const pair = new Pair(t, driver, { checkpointBytes: 1 });
      await pair.begin();
      const record = calls(pair);
      for (const copy of ["main", "replica"]) {
        const stamped = record.where("utimens", `${copy}/app.db`);
        const noted = record.where("sync", `${copy}/app.db-lockstep-amended`);
        for (const log of LOGS) {
          const starts = [...record.where("write", log).filter(isHeader)];
          assert.ok(starts.length >= 3, "there were generations");
          for (const [i, start] of starts.entries()) {
            if (i === 0) continue;
            const folded = stamped
              .after(starts[i - 1]!)
              .before(start)
              .last();
            assert.ok(noted.after(folded).before(start).length > 0, `${copy} before ${log}`);
          }
        }
      }
    });

    test("what amends a record is synced, and its name, before anybody goes on", async (t) => {
      const pair = new Pair(t, driver, { checkpointBytes: 1 });
      await pair.begin();
      const record = calls(pair);
      for (const copy of ["main", "replica"]) {
        const amended = `${copy}/app.db-lockstep-amended`;
        const begun = record.where("open", amended).filter(made).first();
        const written = record.after(begun).where("write", amended).first();
        const synced = record.after(written).where("sync", amended).first();
        const named = record.after(written).where("sync", copy).first();
        const next = record.after(written).where("write", amended).first();
        record.inOrder(begun, written, synced, next);
        record.inOrder(written, named, next);
      }
    });

    test("both logs are synced at a start after a kill, before anything is read", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      await pair.restart();
      pair.faults.clear();
      ok(await pair.open());
      const opened = calls(pair);
      ok(await pair.exec("SELECT 1"));
      for (const log of LOGS) {
        const written = opened.where("write", log);
        assert.ok(written.length > 0, `${log} is written anew`);
        assert.equal(written.first().detail.split("+")[0], "0", "from its beginning");
        const bytes = [...written].reduce((sum, { result }) => sum + result, 0);
        assert.equal(bytes, logEnd(`${pair.faults.root}/${log}`.slice(0, -4)), "all of it");
        assert.ok(written.last().end < opened.where("sync", log).last().begin, "and then synced");
      }
    });

    test("what a kill left behind a log's end is cut off, durably, before the log is used", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      await pair.restart();
      for (const log of LOGS) fs.appendFileSync(`${pair.faults.root}/${log}`, Buffer.alloc(5000));
      pair.faults.clear();
      ok(await pair.open());
      ok(await pair.insert());
      const record = calls(pair);
      for (const log of LOGS) {
        const cut = record.where("truncate", log).only();
        const since = record.after(cut);
        record.inOrder(cut, since.where("sync", log).first(), since.where("write", log).first());
      }
      ok(await pair.close());
      await pair.atRest();
    });

    test("a failed sync is not tried again; at the next start the bytes are written anew", async (t) => {
      for (const log of LOGS) {
        const pair = new Pair(t, driver);
        await pair.begin();
        pair.faults.set({ on: "sync", path: log, times: 1, does: { error: "EIO" } });
        failed(await pair.insert(), log.startsWith("main") ? "PRIMARY_IO" : "REPLICA_IO");
        for (let i = 0; i < 3; i++) await pair.exec("INSERT INTO t VALUES (NULL, 'refused')");
        ok(await pair.close());
        const record = calls(pair);
        const refused = record
          .where("sync", log)
          .filter(({ error }) => error !== "")
          .only();
        assert.equal(record.after(refused).where("sync", log).length, 0, "no second sync");
        assert.equal(record.after(refused).where("sync", log.slice(0, -4)).length, 0, "no fold");
        ok(await pair.open());
        const since = calls(pair).after(refused);
        const [first] = since.where("sync", log);
        assert.ok(first);
        const rewritten = since.before(first).where("write", log);
        assert.equal(rewritten.first().detail.split("+")[0], "0");
        ok(await pair.close());
        await pair.atRest();
      }
    });
  });
}

describe("the start's other ways", { skip, concurrency: 2 }, () => {
  test("a primary that is rolled forward: folded, the log made whole, recorded, named", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await pair.begin();
    await pair.restart();
    fs.rmSync(`${pair.primary}-wal`);
    pair.faults.clear();
    ok(await pair.open());
    const record = calls(pair);
    const fresh = "main/app.db-lockstep-new";
    const named = record.where("rename", "main/app.db-wal").only();
    const synced = record.where("sync", fresh).last();
    record.inOrder(record.where("write", fresh).last(), synced);
    const noted = record.after(synced).before(named).where("sync", "main/app.db-lockstep");
    record.inOrder(synced, noted.last(), named, record.after(named).where("sync", "main").first());
    ok(await pair.close());
    await pair.atRest();
  });

  test("a replica that is re-synchronised: the log whole, recorded, named, folded", async (t) => {
    const pair = new Pair(t, "node:sqlite", { checkpointBytes: 30_000 });
    await scenarios["a replica that lacks generations"].prepare(pair);
    pair.faults.clear();
    ok(await pair.open());
    const record = calls(pair);
    const fresh = "replica/app.db-lockstep-new";
    const named = record.where("rename", "replica/app.db-wal").only();
    const synced = record.where("sync", fresh).last();
    record.inOrder(record.where("write", fresh).last(), synced);
    const noted = record.after(synced).before(named).where("sync", "replica/app.db-lockstep");
    record.inOrder(
      synced,
      noted.last(),
      named,
      record.after(named).where("sync", "replica").first(),
    );
    record.inOrder(named, record.after(named).where("write", "replica/app.db").first());
    ok(await pair.close());
    await pair.atRest();
  });

  test("a primary that is restored: synced, recorded, named", async (t) => {
    const pair = new Pair(t, "node:sqlite", { restoreMissing: true });
    await pair.begin();
    ok(await pair.close());
    fs.rmSync(pair.primary);
    pair.faults.clear();
    ok(await pair.open());
    const record = calls(pair);
    const fresh = "main/app.db-lockstep-new";
    const named = record.where("rename", "main/app.db").only();
    const synced = record.where("sync", fresh).last();
    const noted = record.after(synced).before(named).where("sync", "main/app.db-lockstep");
    record.inOrder(synced, noted.last(), named);
    const opened = record.after(named).where("open", "main/app.db-wal").first();
    record.inOrder(named, record.after(named).where("sync", "main").first(), opened);
    ok(await pair.close());
    await pair.atRest();
  });

  test("a replica that lacks its log gets the primary's, whole", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await pair.begin();
    await pair.restart();
    fs.rmSync(`${pair.replica}-wal`);
    pair.faults.clear();
    ok(await pair.open());
    const record = calls(pair);
    const fresh = "replica/app.db-lockstep-new";
    const named = record.where("rename", "replica/app.db-wal").only();
    const synced = record.where("sync", fresh).last();
    const noted = record.after(synced).before(named).where("sync", "replica/app.db-lockstep");
    record.inOrder(record.where("write", fresh).last(), synced, noted.last(), named);
    record.inOrder(named, record.after(named).where("sync", "replica").first());
    ok(await pair.close());
    await pair.atRest();
  });
});

test("nothing is folded ahead before every record says so", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite", {
    durability: "barrier",
    checkpointBytes: 300_000,
    replicaTimeout: 10_000,
  });
  await pair.begin();
  ok(await pair.exec("CREATE TABLE u (data BLOB)"));
  const folded = () => calls(pair).where("write", "replica/app.db");
  // The first time the thread that folds has to start; then it is at once at what it is told.
  ok(await pair.insert(400_000)); // larger, and it would be finished at once
  while (folded().length === 0) ok(await pair.insert());
  const begun = () => calls(pair).where("write", "replica/app.db-wal").filter(isHeader).length;
  const before = begun();
  while (begun() === before) ok(await pair.insert());
  pair.faults.clear();
  pair.faults.set({ on: "sync", path: "replica/app.db-lockstep-amended", does: "hang" });
  const commit = (bytes: number) => pair.exec(`INSERT INTO u VALUES (zeroblob(${bytes}))`);
  ok(await commit(400_000));
  await pair.faults.hanging();
  for (let i = 0; i < 25; i++) {
    ok(await commit(100));
    ok(await pair.subject.ask({ do: "turn", milliseconds: 20 }));
  }
  assert.equal(folded().length, 0, "not while its record does not say so");
  pair.faults.set();
  while (folded().length === 0) ok(await commit(100));
  const noted = calls(pair)
    .before(folded().first())
    .where("sync", "replica/app.db-lockstep-amended");
  assert.ok(noted.length > 0, "its record says first that it is being folded");
  ok(await pair.close());
  await pair.atRest();
});

describe("a log is written anew and synced before it is folded at a start", { skip }, () => {
  const rewritten = (pair: Pair, copy: string): void => {
    const record = calls(pair);
    const folded = record.where("write", `${copy}/app.db`).first();
    const before = record.before(folded).where("write", `${copy}/app.db-wal`);
    assert.equal(before.first().detail.split("+")[0], "0");
    const synced = record.before(folded).after(before.last()).where("sync", `${copy}/app.db-wal`);
    assert.ok(synced.length > 1, "once by Lockstep, once by SQLite");
  };

  test("before a database that was never replicated is taken", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    leftByAnother(pair.primary);
    ok(await pair.open());
    rewritten(pair, "main");
  });

  test("before a first copy", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await pair.begin();
    await pair.restart();
    for (const suffix of ["", "-wal", "-lockstep"]) fs.rmSync(pair.replica + suffix);
    pair.faults.clear();
    ok(await pair.open());
    rewritten(pair, "main");
  });

  test("before the primary is rolled forward", async (t) => {
    const pair = new Pair(t, "better-sqlite3");
    await scenarios["a primary that lost its log's end"].prepare(pair);
    pair.faults.clear();
    ok(await pair.open());
    rewritten(pair, "main");
  });

  test("before a replica is re-synchronised", async (t) => {
    const pair = new Pair(t, "node:sqlite", { checkpointBytes: 30_000 });
    await pair.begin();
    await pair.restart();
    const other = { replicas: [`${pair.replica}-other`] };
    ok(await pair.open(other));
    for (let n = 0; n < 8; n++) ok(await pair.insert(5000));
    ok(await pair.close());
    pair.faults.clear();
    ok(await pair.open());
    rewritten(pair, "replica");
  });
});

/** Room that is made behind a log's end comes in powers of two; no header and no frame does. */
function isCommit({ result }: Call): boolean {
  return result < 65536 || !Number.isInteger(Math.log2(result));
}

function isHeader({ detail }: Call): boolean {
  return /^0\+/.test(detail);
}

function made({ detail }: Call): boolean {
  return detail.includes("create");
}
