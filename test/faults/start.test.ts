/**
 * The first copy fails on its way. Nothing half-made stands under the replica's name, the primary
 * is as it was, and the next start cleans up and makes the copy.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { driversOr } from "../support/drivers.ts";
import { failed, ok, Pair } from "./pair.ts";
import { type Errno, type Kind, type Rule, skip } from "./shim.ts";

const NEW = "replica/app.db-lockstep-new";
/** A copy is written in pieces of this size (lineage/copy.ts). */
const COPY_PIECE_BYTES = 2 << 20;
const fails = (on: Kind, path: string, error: Errno, nth = 1): Rule[] => [
  { on, path, nth, does: { error } },
];

const failures: readonly (readonly [string, Rule[], string])[] = [
  ["the disk is full at once", fails("write", NEW, "ENOSPC"), "REPLICA_FULL"],
  ["the disk is full in the middle", fails("write", NEW, "ENOSPC", 3), "REPLICA_FULL"],
  ["the quota is used up in the middle", fails("write", NEW, "EDQUOT", 3), "REPLICA_FULL"],
  ["the copy cannot be made", fails("open", NEW, "EROFS"), "REPLICA_IO"],
  ["the copy cannot be written", fails("write", NEW, "EIO", 2), "REPLICA_IO"],
  ["the copy cannot be synced", fails("sync", NEW, "EIO"), "REPLICA_IO"],
  ["the copy cannot be synced, the disk is full", fails("sync", NEW, "ENOSPC"), "REPLICA_FULL"],
  ["the copy cannot be marked", fails("utimens", NEW, "EIO"), "REPLICA_IO"],
  ["it cannot be recorded", fails("sync", "replica/app.db-lockstep", "EIO", 2), "REPLICA_IO"],
  ["it cannot be named", fails("rename", "replica/app.db", "EIO"), "REPLICA_IO"],
  ["its directory cannot be synced", fails("sync", "replica", "EIO", 2), "REPLICA_IO"],
  ["its log cannot be made", fails("open", "replica/app.db-wal", "ENOSPC", 2), "REPLICA_IO"],
  ["the replica's record cannot be made", fails("open", "replica/", "EROFS"), "REPLICA_IO"],
  ["the replica's record cannot be locked", fails("lock", "replica/", "EIO"), "REPLICA_IO"],
  ["nothing fits on the disk", fails("write", "replica/", "ENOSPC"), "REPLICA_FULL"],
  ["the replica's file system is gone", fails("open", "replica/", "ESTALE"), "REPLICA_IO"],
  ["the primary's log cannot be synced", fails("sync", "main", "EIO", 2), "PRIMARY_IO"],
];

for (const driver of driversOr("node:sqlite")) {
  describe(`a first copy, with ${driver}`, { skip, concurrency: 2 }, () => {
    for (const [what, rules, code] of failures) {
      test(`${what}: ${code}`, async (t) => {
        const pair = new Pair(t, driver);
        fill(pair);
        void pair.subject;
        pair.faults.set(...rules);
        failed(await pair.open(), code);
        whole(pair);
        pair.holdsAcknowledged(pair.primary);
        await pair.recovers();
      });
    }

    test("the primary cannot be read: PRIMARY_IO", async (t) => {
      const pair = new Pair(t, driver);
      fill(pair);
      void pair.subject;
      pair.faults.set({ on: "write", path: NEW, does: "hang" });
      const reply = pair.open();
      await pair.faults.hanging();
      pair.faults.set(...fails("read", "main/app.db", "EIO"));
      failed(await reply, "PRIMARY_IO");
      whole(pair);
      await pair.recovers();
    });

    for (const [what, rule] of [
      ["as its first byte is written", { on: "write", path: NEW, does: "killgroup" }],
      ["in the middle", { on: "write", path: NEW, nth: 3, does: "killgroup" }],
      ["before it is synced", { on: "sync", path: NEW, does: "killgroup" }],
      ["before it is named", { on: "rename", path: "replica/app.db", does: "killgroup" }],
      ["before its name is synced", { on: "sync", path: "replica", nth: 2, does: "killgroup" }],
      ["the copying process only", { on: "write", path: NEW, nth: 2, does: "kill" }],
    ] satisfies [string, Rule][]) {
      test(`is killed: ${what}`, async (t) => {
        const pair = new Pair(t, driver);
        fill(pair);
        void pair.subject;
        pair.faults.set(rule);
        const reply = await pair.open();
        if (reply) failed(reply, "REPLICA_IO");
        else await pair.restart();
        whole(pair);
        pair.holdsAcknowledged(pair.primary);
        await pair.recovers();
      });
    }
  });
}

for (const nth of [1, 2]) {
  test(`a large copy is synced as it is made: sync ${nth} fails, and no other`, {
    skip,
  }, async (t) => {
    const pair = new Pair(t, "node:sqlite");
    fill(pair, 24_000); // more than is written between two syncs, twice
    void pair.subject;
    pair.faults.set(...fails("sync", NEW, "EIO", nth));
    failed(await pair.open(), "REPLICA_IO");
    assert.equal(pair.faults.matched(0), nth, "it did not go on");
    whole(pair);
    await pair.recovers();
  });
}

for (const which of ["one in the middle", "the last one"]) {
  test(`a write of a copy fails, ${which}, and no other`, { skip }, async (t) => {
    const pair = new Pair(t, "node:sqlite");
    fill(pair);
    void pair.subject;
    const writes = Math.ceil(fs.statSync(pair.primary).size / COPY_PIECE_BYTES);
    const nth = which === "the last one" ? writes : 3;
    pair.faults.set({ on: "write", path: NEW, nth, times: 1, does: { error: "EIO" } });
    failed(await pair.open(), "REPLICA_IO");
    assert.ok(pair.faults.matched(0) >= nth, "it came to that");
    whole(pair);
    await pair.recovers();
  });
}

for (const [what, rule] of [
  ["to open it so", { on: "open", path: NEW, nth: 2, times: 1, does: { error: "EINVAL" } }],
  ["the first write", { on: "write", path: NEW, nth: 1, times: 1, does: { error: "EINVAL" } }],
  ["a later write", { on: "write", path: NEW, nth: 3, times: 1, does: { error: "EINVAL" } }],
  ["some of a write", { on: "write", path: NEW, nth: 2, times: 1, does: { short: 1000 } }],
] satisfies [string, Rule][]) {
  test(`a file system refuses what goes past the page cache, ${what}: it is copied`, {
    skip,
  }, async (t) => {
    const pair = new Pair(t, "node:sqlite");
    fill(pair);
    void pair.subject;
    pair.faults.set(rule);
    ok(await pair.open());
    assert.ok(pair.faults.matched(0) >= rule.nth, "it came to that");
    pair.faults.set();
    ok(await pair.close());
    await pair.atRest();
  });
}

test("what is left of an earlier copy is not taken for one", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  fill(pair);
  fs.writeFileSync(`${pair.replica}-lockstep-new`, "half a copy");
  ok(await pair.open());
  ok(await pair.close());
  await pair.atRest();
});

test("a log that lies where the copy is made is not replayed over it", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  fill(pair);
  const stale = join(pair.faults.root, "process", "stale.db");
  const db = new DatabaseSync(stale);
  db.exec("PRAGMA journal_mode=WAL; CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)");
  fs.copyFileSync(`${stale}-wal`, `${pair.replica}-wal`);
  db.close();
  ok(await pair.open());
  pair.holdsAcknowledged(pair.replica);
  ok(await pair.close());
  await pair.atRest();
});

/** 12 MB that are copied in several pieces. */
function fill(pair: Pair, bytes = 4000): void {
  const db = new DatabaseSync(pair.primary);
  db.exec("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)");
  db.exec(`WITH RECURSIVE c(n) AS (SELECT 1001 UNION ALL SELECT n + 1 FROM c WHERE n < 4000)
           INSERT INTO t SELECT n, zeroblob(${bytes}) FROM c`);
  db.close();
  for (let n = 1001; n <= 4000; n++) pair.acknowledged.add(n);
}

/** Under the replica's name is nothing, or all of it. */
function whole(pair: Pair): void {
  if (fs.existsSync(pair.replica)) pair.holdsAcknowledged(pair.replica);
  else assert.ok(!fs.existsSync(`${pair.replica}-wal`));
}
