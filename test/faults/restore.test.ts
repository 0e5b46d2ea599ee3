/**
 * A disk fails during a restore. Up to the renames nothing has changed, and what the system said comes
 * through; afterwards the error says where the databases stand. The same command, run again by the
 * same process, finishes the work.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import type { TestContext } from "node:test";
import { describe, test } from "node:test";
import type { Reply } from "./child.ts";
import { failed, ok, Pair } from "./pair.ts";
import { type Rule, skip } from "./shim.ts";

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
