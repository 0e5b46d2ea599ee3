/**
 * A disk fails during a restore. Up to the renames nothing has changed, and what the system said comes
 * through; afterwards the error says where the databases stand. The same command, run again by the
 * same process, finishes the work.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import type { TestContext } from "node:test";
import { describe, test } from "node:test";
import { calls } from "./calls.ts";
import type { Reply } from "./child.ts";
import { failed, ok, Pair } from "./pair.ts";
import { type Call, type Rule, skip } from "./shim.ts";

const EIO = { error: "EIO" } as const;

async function lost(t: TestContext): Promise<Pair> {
  const pair = new Pair(t, "node:sqlite");
  await pair.begin();
  ok(await pair.close());
  for (const name of fs.globSync(`${pair.primary}*`)) fs.rmSync(name);
  return pair;
}

function restore(pair: Pair): Promise<Reply | null> {
  return pair.subject.ask({ do: "restore", replica: pair.replica, dest: pair.primary });
}

async function finishes(pair: Pair): Promise<void> {
  pair.faults.set();
  ok(await restore(pair));
  pair.holdsAcknowledged(pair.primary);
  await pair.recovers();
}

describe("in a restore", { skip, concurrency: 2 }, () => {
  test("the copy cannot be written, nor removed: what was said first is what comes out", async (t) => {
    const pair = await lost(t);
    pair.faults.set(
      { on: "write", path: "main/app.db-lockstep-new", does: { error: "ENOSPC" } },
      { on: "unlink", path: "main/app.db-lockstep-new", nth: "then", does: EIO },
    );
    assert.equal((await restore(pair))?.error?.code, "ENOSPC");
    assert.ok(!fs.existsSync(pair.primary));
    await finishes(pair);
  });

  test("the copy cannot be read back: SQLite's check says nothing of damage", async (t) => {
    const pair = await lost(t);
    const path = "main/app.db-lockstep-new";
    const reply = async (nth: number): Promise<Reply | null> => {
      pair.faults.set({ on: "read", path, nth, times: 1, does: EIO });
      return restore(pair);
    };
    let reads = 0;
    for (let nth = 1; ; nth++) {
      const { error } = (await reply(nth)) ?? {};
      if (pair.faults.matched(0) < nth) break;
      assert.match(String(error?.code), /^(EIO|ERR_SQLITE_ERROR)$/, String(error?.message));
      assert.ok(!fs.existsSync(pair.primary));
      reads = nth;
    }
    assert.ok(reads > 4, "some of them were the check's");
    await pair.recovers();
  });

  test("the new record cannot be written: PRIMARY_IO, and it is not locked afterwards", async (t) => {
    const pair = await lost(t);
    const path = "main/app.db-lockstep-journal";
    pair.faults.set({ on: "write", path, nth: 3, does: EIO });
    failed(await restore(pair), "PRIMARY_IO");
    assert.ok(!fs.existsSync(pair.primary));
    await finishes(pair);
  });

  test("the replica cannot be marked: REPLICA_IO, and DEST stands", async (t) => {
    const pair = await lost(t);
    const named: Rule = { on: "rename", path: "main/app.db", does: { delay: 0 } };
    pair.faults.set(named, { on: "write", path: "replica/", nth: "then", does: EIO });
    const { error } = failed(await restore(pair), "REPLICA_IO");
    assert.equal(error?.copy, pair.replica);
    pair.holdsAcknowledged(pair.primary);
    await finishes(pair);
  });
});

test("over a database with a log: what is on the disk before what", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  await pair.begin();
  await pair.restart();
  void pair.subject;
  pair.faults.clear();
  ok(await restore(pair));
  const record = calls(pair);
  const namesAreDurable = (after: Call, before: Call): void => {
    const synced = record.after(after).before(before).where("sync", "main");
    assert.ok(synced.length > 0, `between ${after.kind} ${after.path} and ${before.kind}`);
  };
  // It is set aside: first what stands beside it, then itself; then the rest may go.
  const moved = record
    .filter(({ kind, path }) => kind === "rename" && path.includes(".set-aside-"))
    .only();
  for (const suffix of ["-wal", "-lockstep", "-lockstep-sums"]) {
    const copied = record
      .before(moved)
      .where("sync", moved.path + suffix)
      .only();
    namesAreDurable(copied, moved);
  }
  const dropped = record.after(moved).filter(({ kind }) => kind === "unlink");
  namesAreDurable(moved, dropped.first());
  // Another takes its place: whole, on record, named; then the replica is no replica of the old one's.
  const fresh = "main/app.db-lockstep-new";
  const written = record.where("write", fresh).last();
  record.inOrder(
    written,
    record.where("sync", fresh).first(),
    record.after(written).where("open", fresh).first(),
  );
  const begun = record.after(moved).where("open", "main/app.db-lockstep").first();
  namesAreDurable(dropped.before(begun).last(), begun);
  const named = record.where("rename", "main/app.db").only();
  const promoted = record.after(named).filter(({ path }) => path.startsWith("replica/"));
  namesAreDurable(named, promoted.first());
  pair.holdsAcknowledged(pair.primary);
  await pair.recovers();
});
