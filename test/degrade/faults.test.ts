/**
 * Replicas that hang, fill up, or are killed on their way back, while commits go on: what is
 * acknowledged is on the copies that are left, a late thread spoils nothing, and in the end all are equal.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { calls } from "../faults/calls.ts";
import { ok, TIMEOUT_MS } from "../faults/pair.ts";
import { type Call, skip } from "../faults/shim.ts";
import { logEnd } from "../support/files.ts";
import { comesBack, Group, hang, OFTEN, TIMEOUT, without } from "./group.ts";

describe("commits go on without a replica", { skip, concurrency: 2 }, () => {
  for (const durability of ["commit", "barrier"] as const) {
    test(`whose disk hangs in a sync: ${durability}`, async (t) => {
      const group = new Group(t, "node:sqlite", { ...TIMEOUT, durability });
      await without(group, hang("sync", "other/app.db-wal"));
      await comesBack(group);
    });

    test(`whose disk hangs in a write, and the ring goes round meanwhile: ${durability}`, async (t) => {
      const group = new Group(t, "better-sqlite3", { ...TIMEOUT, durability });
      const { pair } = group;
      await without(group, hang("write", "other/app.db-wal"));
      for (let i = 0; i < 6; i++) ok(await pair.insert(1 << 20)); // more than a whole ring
      await comesBack(group);
    });
  }

  test("whose disk hangs while its log is folded ahead, by the thread of all copies", async (t) => {
    const group = new Group(t, "node:sqlite", { ...TIMEOUT, checkpointBytes: 300_000 });
    const { pair } = group;
    await without(group, hang("write", "other/app.db"), 8, 200_000);
    for (let i = 0; i < 8; i++) ok(await pair.insert(200_000)); // folded ahead without it
    await comesBack(group);
  });

  test("whose disk hangs while its log is folded between two commits", async (t) => {
    const group = new Group(t, "better-sqlite3", { ...TIMEOUT, checkpointBytes: OFTEN });
    await without(group, hang("sync", "other/app.db"), 12);
    await comesBack(group);
  });

  for (const error of ["ENOSPC", "EIO", "ESTALE"] as const) {
    test(`whose disk says ${error}`, async (t) => {
      const group = new Group(t, "node:sqlite", { checkpointBytes: OFTEN });
      await without(group, { on: "write", path: "other/", does: { error } }, 12);
      await comesBack(group);
    });
  }

  test("a start goes on without one that hangs", async (t) => {
    const group = new Group(t, "better-sqlite3", TIMEOUT);
    const { pair } = group;
    await pair.begin(group.replicas);
    await pair.restart();
    void pair.subject;
    pair.faults.set(hang("open", "other/app.db-lockstep"));
    ok(await pair.open(group.replicas));
    ok(await pair.insert());
    assert.deepEqual(await group.states(), ["mirroring", "detached"]);
    await comesBack(group);
  });

  test("closed while one hangs: nobody waits for it", async (t) => {
    const group = new Group(t, "node:sqlite", TIMEOUT);
    const { pair } = group;
    await without(group, hang("sync", "other/app.db-wal"));
    const { milliseconds } = ok(await pair.close());
    assert.ok(milliseconds < TIMEOUT_MS / 2, `it took ${milliseconds} ms`);
    await pair.atRest();
    pair.faults.set();
    pair.hangs = true;
    ok(await pair.openWhenFree(group.replicas));
    await group.until("mirroring");
    ok(await pair.close());
    await group.atRest();
  });
});

describe("on the way back", { skip, concurrency: 2 }, () => {
  /** More than is followed at once. */
  const ROWS = 5;
  const ROW_BYTES = 4 << 20;
  const log = "other/app.db-wal";

  test("what is followed at once is there whole or not at all: its first frame is written last", async (t) => {
    const group = new Group(t, "node:sqlite", { checkpointBytes: 1 << 30 });
    const { pair } = group;
    await without(group, { on: "write", path: log, does: { error: "EIO" } });
    for (let i = 0; i < ROWS; i++) ok(await pair.insert(ROW_BYTES));
    pair.faults.clear();
    pair.faults.set();
    await group.until("mirroring");
    const record = calls(pair);
    const offset = ({ detail }: Call): number => Number(detail.split("+")[0]);
    const writes = [...record.where("write", log)];
    const firsts = writes.filter(
      (call, i) => i > 0 && offset(call) < offset(writes[i - 1] as Call),
    );
    assert.ok(firsts.length >= 2, `it was followed in ${firsts.length} pieces`);
    for (const first of firsts) {
      const others = record.before(first).where("write", log).last();
      const synced = record.before(first).where("sync", log).last();
      assert.ok(others.end <= synced.begin, "the others were synced before");
      const then = record.after(first).where("sync", log).first();
      const next = record.after(first).where("write", log);
      if (first !== firsts.at(-1)) assert.ok(next.length > 0, "something else was written");
      assert.ok(
        [...next].every(({ begin }) => then.end <= begin),
        "and it was, before that",
      );
    }
    ok(await pair.close());
    await group.atRest();
  });

  test("left between two pieces, it is known to be older when the log has begun anew", async (t) => {
    const group = new Group(t, "node:sqlite", { checkpointBytes: 1 << 30 });
    const { pair } = group;
    await without(group, { on: "write", path: log, does: { error: "EIO" } });
    for (let i = 0; i < ROWS; i++) ok(await pair.insert(ROW_BYTES));
    const before = logEnd(group.other);
    // The log is written anew when it is attached; then come the pieces of the first part.
    pair.faults.set({ on: "write", path: log, nth: 15, does: { error: "EIO" } });
    while (pair.faults.matched(0) < 15) {
      ok(await pair.insert());
      await pair.subject.ask({ do: "turn", milliseconds: 20 });
    }
    ok(await pair.close()); // folds the others' logs: the next one begins anew
    assert.ok(logEnd(group.other) > before, "it got a part");
    assert.ok(logEnd(group.other) < ROWS * ROW_BYTES, "and not all");
    pair.faults.set();
    ok(await pair.open(group.replicas));
    ok(await pair.insert());
    ok(await pair.close());
    await group.atRest();
  });
});

describe("killed on the way back", { skip, concurrency: 2 }, () => {
  /** At which call, of the other replica's and of the primary's, counted from when it may come back. */
  const CALLS = { "other/": [1, 22, 65], "main/": [9, 39] };
  for (const [path, numbers] of Object.entries(CALLS)) {
    for (const nth of numbers) {
      test(`at call ${nth} below ${path}`, async (t) => {
        const group = new Group(t, "node:sqlite", { checkpointBytes: OFTEN });
        const { pair } = group;
        await without(group, { on: "write", path: "other/", does: { error: "EIO" } }, 12);
        pair.faults.set({ on: "*", path, nth, does: "killgroup" });
        for (let i = 0; i < 100; i++) {
          if (!(await pair.insert(2000))) break;
          await pair.subject.ask({ do: "turn", milliseconds: 20 });
        }
        await pair.restart();
        pair.faults.set();
        for (const copy of [pair.primary, pair.replica]) pair.holdsAcknowledged(copy);
        ok(await pair.open(group.replicas));
        ok(await pair.insert());
        ok(await pair.close());
        await group.atRest();
      });
    }
  }
});
