/**
 * The primary's disk fails while the application commits. SQLite's own errors pass through and
 * fence nothing, for nothing was committed; what fails after SQLite has committed fences.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, test } from "node:test";
import { WAL_HEADER_SIZE } from "../../src/wal/format.ts";
import { DRIVERS, driversOr } from "../support/drivers.ts";
import { logEnd } from "../support/files.ts";
import { failed, ok, Pair } from "./pair.ts";
import { skip } from "./shim.ts";

const LOG = "main/app.db-wal";
const INDEX = "main/app.db-shm";

for (const driver of DRIVERS) {
  describe(`SQLite itself, with ${driver}`, { skip, concurrency: 2 }, () => {
    for (const error of ["ENOSPC", "EIO"] as const) {
      test(`SQLite cannot write its log (${error}): its own error, nothing fenced`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        pair.faults.set({ on: "write", path: LOG, does: { error } });
        const reply = await pair.insert();
        assert.match(reply?.error?.code ?? "", /SQLITE/);
        pair.forget(4); // rolled back
        pair.faults.set();
        ok(await pair.insert());
        pair.holdsAcknowledged(pair.replica);
        ok(await pair.close());
        await pair.atRest();
      });
    }
  });
}

for (const driver of driversOr("better-sqlite3")) {
  describe(`with ${driver}`, { skip, concurrency: 2 }, () => {
    test("its log cannot be synced: PRIMARY_IO", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      pair.faults.set({ on: "sync", path: LOG, times: 1, does: { error: "EIO" } });
      failed(await pair.insert(), "PRIMARY_IO");
      assert.ok(failed(await pair.exec("SELECT 1"), "PRIMARY_IO").error?.same);
      ok(await pair.close());
      pair.holdsAcknowledged(pair.primary);
      pair.holdsAcknowledged(pair.replica);
      await pair.recovers();
    });

    for (const kept of ["nothing of it", "half of it"]) {
      test(`its log cannot be synced, and the disk kept ${kept}: rolled forward`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        const before = logEnd(pair.primary);
        pair.faults.set({ on: "sync", path: LOG, times: 1, does: { error: "EIO" } });
        failed(await pair.insert(), "PRIMARY_IO");
        ok(await pair.close());
        await pair.restart();
        fs.truncateSync(`${pair.primary}-wal`, before + (kept === "half of it" ? 1000 : 0));
        await pair.recovers();
      });
    }

    test("its log cannot be synced, and the disk kept no log at all: rolled forward", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      pair.faults.set({ on: "sync", path: LOG, times: 1, does: { error: "EIO" } });
      failed(await pair.insert(), "PRIMARY_IO");
      ok(await pair.close());
      await pair.restart();
      fs.truncateSync(`${pair.primary}-wal`, WAL_HEADER_SIZE);
      await pair.recovers();
    });

    test("its log cannot be read by the gate: PRIMARY_IO", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      pair.faults.set({ on: "read", path: LOG, does: { error: "EIO" } });
      failed(await pair.insert(), "PRIMARY_IO");
      assert.ok(failed(await pair.exec("SELECT 1"), "PRIMARY_IO").error?.same);
      pair.holdsAcknowledged(pair.primary);
      pair.holdsAcknowledged(pair.replica);
      ok(await pair.close());
      await pair.recovers();
    });

    test("its log is read wrong: PRIMARY_IO, and nothing of it reaches the replica", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      const before = fs.readFileSync(`${pair.replica}-wal`);
      pair.faults.set({ on: "read", path: LOG, times: 1, does: "flip" });
      failed(await pair.insert(), "PRIMARY_IO");
      assert.ok(fs.readFileSync(`${pair.replica}-wal`).equals(before));
      ok(await pair.close());
      await pair.recovers();
    });

    test("its log is unreadable in the middle of a large transaction: PRIMARY_IO", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      pair.faults.set({ on: "read", path: LOG, nth: 3, does: { error: "EIO" } });
      failed(await pair.insert(20 << 20), "PRIMARY_IO"); // in pieces through the ring
      pair.holdsAcknowledged(pair.replica);
      ok(await pair.close());
      await pair.recovers();
    });

    test("a new generation cannot be put on record: PRIMARY_IO", async (t) => {
      const pair = new Pair(t, driver, { checkpointBytes: 1 });
      await pair.begin(); // every commit is folded: the next begins a generation
      pair.faults.set({ on: "*", path: "main/app.db-lockstep-amended", does: { error: "EIO" } });
      failed(await pair.insert(), "PRIMARY_IO");
      ok(await pair.close());
      pair.holdsAcknowledged(pair.primary);
      pair.holdsAcknowledged(pair.replica);
      await pair.recovers();
    });

    test("its index cannot be read while nobody commits: the process goes on", async (t) => {
      const pair = new Pair(t, driver, { openTransactionMs: 200 }); // looked for four times as often
      await pair.begin();
      pair.faults.set({ on: "read", path: INDEX, does: { error: "EIO" } });
      while (pair.faults.matched(0) < 3) {
        ok(await pair.subject.ask({ do: "turn", milliseconds: 10 }));
      }
      pair.faults.set();
      ok(await pair.insert());
      ok(await pair.close());
      await pair.atRest();
    });

    test("its index cannot be read for the status, which says so: PRIMARY_IO", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      const before = ok(await pair.subject.ask({ do: "position" }));
      pair.faults.set({ on: "read", path: INDEX, does: { error: "EIO" } });
      assert.equal(ok(await pair.subject.ask({ do: "position" })).value, before.value);
      pair.faults.set();
      failed(await pair.insert(), "PRIMARY_IO");
      pair.forget(4); // it was refused
      ok(await pair.close());
      await pair.recovers();
    });

    test("its log is unlinked: PRIMARY_IO, and the replica's takes its place", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      fs.rmSync(`${pair.primary}-wal`);
      failed(await pair.insert(), "PRIMARY_IO");
      pair.holdsAcknowledged(pair.replica);
      ok(await pair.close());
      await pair.recovers();
    });
  });
}
