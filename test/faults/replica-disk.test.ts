/**
 * The replica's disk fails while the application commits. Whatever it says: the commit throws the
 * documented code and so does everything after it, nothing false was acknowledged, the close works,
 * and when the disk is well again a reopen brings the copies together.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { dirname } from "node:path";
import { describe, test } from "node:test";
import { driversOr } from "../support/drivers.ts";
import { failed, ok, Pair, TIMEOUT_MS } from "./pair.ts";
import { type Errno, type Rule, skip } from "./shim.ts";

const LOG = "replica/app.db-wal";
const write = (error: Errno): Rule[] => [{ on: "write", path: LOG, does: { error } }];
const sync = (error: Errno): Rule[] => [{ on: "sync", path: LOG, does: { error } }];

/** What happens, how it is made to happen, the code that comes out. */
const failures: readonly (readonly [string, Rule[], string])[] = [
  ["the disk is full when the log is written", write("ENOSPC"), "REPLICA_FULL"],
  ["the disk is full when the log is synced", sync("ENOSPC"), "REPLICA_FULL"],
  ["the quota is used up when the log is written", write("EDQUOT"), "REPLICA_FULL"],
  ["the quota is used up when the log is synced", sync("EDQUOT"), "REPLICA_FULL"],
  [
    "the disk is full in the middle of a write",
    [{ on: "write", path: LOG, times: 1, does: { short: 1000 } }, ...write("ENOSPC")],
    "REPLICA_FULL",
  ],
  [
    "nothing in the replica's directory can be written any more",
    [{ on: "*", path: "replica/", does: { error: "ENOSPC" } }],
    "REPLICA_FULL",
  ],
  ["the disk is unplugged: writing fails", write("EIO"), "REPLICA_IO"],
  ["the disk is unplugged: syncing fails", sync("EIO"), "REPLICA_IO"],
  [
    "the disk is unplugged: everything fails",
    ["*", "open", "read", "lock"].map(
      (on): Rule => ({ on: on as Rule["on"], path: "replica/", does: { error: "EIO" } }),
    ),
    "REPLICA_IO",
  ],
  ["the device is gone", write("ENODEV"), "REPLICA_GONE"],
  ["the file system became read-only", write("EROFS"), "REPLICA_IO"],
  ["a network file system lost the file: writing fails", write("ESTALE"), "REPLICA_GONE"],
  ["a network file system lost the file: syncing fails", sync("ESTALE"), "REPLICA_GONE"],
  ["the sync hangs", [{ on: "sync", path: LOG, does: "hang" }], "REPLICA_TIMEOUT"],
  ["the write hangs", [{ on: "write", path: LOG, does: "hang" }], "REPLICA_TIMEOUT"],
];

for (const driver of driversOr("better-sqlite3")) {
  describe(`with ${driver}`, { skip, concurrency: 2 }, () => {
    for (const [what, rules, code] of failures) {
      test(`${what}: ${code}`, async (t) => {
        const hangs = code === "REPLICA_TIMEOUT";
        const pair = new Pair(t, driver, hangs ? { replicaTimeout: TIMEOUT_MS } : {});
        pair.hangs = hangs;
        await pair.begin();
        pair.faults.set(...rules);
        failed(await pair.insert(), code);
        await fenced(pair, code);
        pair.holdsAcknowledged(pair.primary);
        pair.holdsAcknowledged(pair.replica);
        await closes(pair);
        await pair.recovers();
      });
    }

    test("a read of the replica fails at the close, whichever it is: nothing of it is left open", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      let reads = 0;
      for (let nth = 1; ; nth++) {
        pair.faults.set({
          on: "read",
          path: "/replica/app.db",
          nth,
          times: 1,
          does: { error: "EIO" },
        });
        const reply = await pair.close();
        if (pair.faults.matched(0) < nth) break;
        failed(reply, "REPLICA_IO");
        const under = `${pair.replica}-wal`; // what is left of the others holds no lock
        const { value } = ok(await pair.subject.ask({ do: "descriptors", under }));
        assert.deepEqual(value, []);
        reads = nth;
        ok(await pair.open());
        ok(await pair.insert());
      }
      assert.ok(reads >= 3, "the last one when its log was folded");
      await pair.recovers();
    });

    test("the directory is gone, and comes back: REPLICA_GONE", async (t) => {
      const pair = new Pair(t, driver);
      const directory = dirname(pair.replica);
      await pair.begin();
      fs.renameSync(directory, `${directory}-elsewhere`);
      failed(await pair.insert(), "REPLICA_GONE");
      await fenced(pair, "REPLICA_GONE");
      await closes(pair);
      failed(await pair.open(), "REPLICA_GONE");
      fs.renameSync(`${directory}-elsewhere`, directory);
      await pair.recovers();
    });

    test("the directory is removed, and a new disk put in: REPLICA_GONE", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      fs.rmSync(dirname(pair.replica), { recursive: true });
      failed(await pair.insert(), "REPLICA_GONE");
      await fenced(pair, "REPLICA_GONE");
      await closes(pair);
      failed(await pair.open(), "REPLICA_GONE");
      fs.mkdirSync(dirname(pair.replica));
      await pair.recovers();
    });
  });
}

test("its disk is unmounted as a generation begins: REPLICA_GONE", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  await pair.begin();
  ok(await pair.close());
  ok(await pair.open());
  pair.faults.set({ on: "sync", path: "/replica", times: 1, does: "vanish" });
  failed(await pair.insert(), "REPLICA_GONE");
  await fenced(pair, "REPLICA_GONE");
  await pair.close();
  pair.remount();
  await pair.recovers();
});

describe("what is no failure", { skip }, () => {
  test("a short write is continued", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await pair.begin();
    pair.faults.set({ on: "write", path: LOG, times: 3, does: { short: 777 } });
    ok(await pair.insert());
    pair.holdsAcknowledged(pair.replica);
    ok(await pair.close());
    await pair.atRest();
  });

  test("a slow disk is waited for", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await pair.begin();
    pair.faults.set({ on: "sync", path: LOG, times: 1, does: { delay: 500 } });
    const { milliseconds } = ok(await pair.insert());
    assert.ok(milliseconds >= 500);
    ok(await pair.close());
    await pair.atRest();
  });
});

/** Every later statement throws the same error, reads too, and none of them runs. */
async function fenced(pair: Pair, code: string): Promise<void> {
  for (const sql of ["SELECT 1", "DELETE FROM t", "BEGIN"]) {
    const { error } = failed(await pair.exec(sql), code);
    assert.ok(error?.same, `${sql} throws the very same error`);
  }
}

async function closes(pair: Pair): Promise<void> {
  const { milliseconds } = ok(await pair.close());
  assert.ok(milliseconds < 2 * TIMEOUT_MS, `the close took ${Math.round(milliseconds)} ms`);
}
