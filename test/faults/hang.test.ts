/**
 * A replica's disk that neither does nor refuses: whatever the mirror thread was about, the
 * application waits for `replicaTimeout` and no longer, and gets its thread back. The replica stays
 * locked until the disk answers; nothing that the late thread does then can harm.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Reply } from "./child.ts";
import { failed, ok, Pair, TIMEOUT_MS } from "./pair.ts";
import { type Rule, skip } from "./shim.ts";

const hang = (on: Rule["on"], path: string, nth = 1): Rule => ({ on, path, nth, does: "hang" });
const TIMEOUT = { replicaTimeout: TIMEOUT_MS };

/** It came back in time: not before the deadline, and not long after it. */
function inTime(reply: Reply | null): void {
  const { milliseconds } = reply as Reply;
  assert.ok(milliseconds > TIMEOUT_MS * 0.9, `it waited only ${Math.round(milliseconds)} ms`);
  assert.ok(milliseconds < TIMEOUT_MS * 2.5, `it took ${Math.round(milliseconds)} ms`);
}

async function hanging(pair: Pair): Promise<void> {
  pair.hangs = true;
  ok(await pair.close());
  failed(await pair.open(), "LOCKED"); // by the thread that hangs
  await pair.recovers(TIMEOUT);
}

describe("a disk that hangs", { skip, concurrency: 2 }, () => {
  test("in a commit: REPLICA_TIMEOUT, and LOCKED until it answers", async (t) => {
    const pair = new Pair(t, "node:sqlite", TIMEOUT);
    await pair.begin();
    pair.faults.set(hang("sync", "replica/app.db-wal"));
    const reply = failed(await pair.insert(), "REPLICA_TIMEOUT");
    inTime(reply);
    assert.ok(failed(await pair.exec("SELECT 1"), "REPLICA_TIMEOUT").error?.same);
    await hanging(pair);
  });

  for (const durability of ["commit", "barrier"] as const) {
    test(`while the whole process is stopped, ${durability}: that time does not count`, async (t) => {
      const pair = new Pair(t, "node:sqlite", { ...TIMEOUT, durability });
      await pair.begin();
      pair.faults.set(hang("sync", "replica/app.db-wal"));
      const reply = pair.insert();
      await pair.faults.hanging();
      pair.subject.stop();
      await sleep(TIMEOUT_MS * 2); // it is this time that does not count
      pair.faults.set();
      pair.subject.resume();
      ok(await reply);
      ok(await pair.close());
      await pair.recovers(TIMEOUT);
    });
  }

  test("in a checkpoint: the commit is acknowledged, the next statement is refused", async (t) => {
    const pair = new Pair(t, "better-sqlite3", { ...TIMEOUT, checkpointBytes: 30_000 });
    await pair.begin();
    pair.faults.set(hang("sync", "replica/app.db"));
    inTime(ok(await pair.insert(30_000)));
    failed(await pair.exec("SELECT 1"), "REPLICA_TIMEOUT");
    await hanging(pair);
  });

  test("when a new generation is put on record: REPLICA_TIMEOUT", async (t) => {
    const pair = new Pair(t, "node:sqlite", { ...TIMEOUT, checkpointBytes: 1 });
    await pair.begin();
    pair.faults.set(hang("write", "replica/app.db-lockstep-amended"));
    inTime(failed(await pair.insert(), "REPLICA_TIMEOUT"));
    await hanging(pair);
  });

  for (const [what, rule] of [
    ["its log is folded", hang("sync", "replica/app.db")],
    ["its record is written", hang("sync", "replica/app.db-lockstep-journal")],
    ["its log is removed", hang("unlink", "replica/app.db-wal")],
  ] as const) {
    test(`in a close, while ${what}: REPLICA_TIMEOUT`, async (t) => {
      const pair = new Pair(t, "node:sqlite", TIMEOUT);
      await pair.begin();
      pair.faults.set(rule);
      inTime(failed(await pair.close(), "REPLICA_TIMEOUT"));
      pair.hangs = true;
      failed(await pair.open(), "LOCKED");
      await pair.recovers(TIMEOUT);
    });
  }

  for (const [what, rule] of [
    ["its record is opened", hang("write", "replica/app.db-lockstep-journal")],
    ["the copy is written", hang("write", "replica/app.db-lockstep-new")],
    ["the copy is synced", hang("sync", "replica/app.db-lockstep-new")],
    ["the copy is named", hang("rename", "replica/app.db")],
    ["its log is made", hang("open", "replica/app.db-wal")],
  ] as const) {
    test(`in a start, while ${what}: REPLICA_TIMEOUT`, async (t) => {
      const pair = new Pair(t, "node:sqlite", TIMEOUT);
      void pair.subject;
      pair.faults.set(rule);
      failed(await pair.open(), "REPLICA_TIMEOUT");
      pair.hangs = true;
      failed(await pair.open(), "LOCKED");
      await pair.recovers(TIMEOUT);
    });
  }
});
