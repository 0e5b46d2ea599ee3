/** Readers, in a process of their own, while checkpoints are due: what is put off is not recorded. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { ok, Pair, TIMEOUT_MS } from "./pair.ts";
import { skip } from "./shim.ts";

const SMALL = { checkpointBytes: 30_000, replicaTimeout: 2 * TIMEOUT_MS };

/** A reader that stays where it is until it is closed. */
function readerOf(file: string): DatabaseSync {
  const reader = new DatabaseSync(file);
  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM t").get();
  return reader;
}

for (const side of ["primary", "replica"] as const) {
  describe(`a reader of the ${side}`, { skip, concurrency: 2 }, () => {
    test("puts a checkpoint off, and nothing fails", async (t) => {
      const pair = new Pair(t, "node:sqlite", SMALL);
      await pair.begin();
      const reader = readerOf(pair[side]);
      for (let i = 0; i < 5; i++) ok(await pair.insert(30_000));
      assert.equal(reader.prepare("SELECT count(*) AS n FROM t").get()?.["n"], 3);
      pair.holdsAcknowledged(pair.replica);
      reader.close();
      for (let i = 0; i < 5; i++) ok(await pair.insert(30_000));
      ok(await pair.close());
      await pair.atRest();
    });

    test("puts it off in a close: the log stays, and the next start goes on", async (t) => {
      const pair = new Pair(t, "better-sqlite3", SMALL);
      await pair.begin();
      const reader = readerOf(pair[side]);
      ok(await pair.insert(30_000));
      ok(await pair.close());
      for (const copy of [pair.primary, pair.replica]) pair.holdsAcknowledged(copy);
      reader.close();
      await pair.recovers();
    });

    test("puts it off, the process is killed and the log lost: the other copy has it", async (t) => {
      const pair = new Pair(t, "node:sqlite", SMALL);
      await pair.begin();
      const reader = readerOf(pair[side]);
      ok(await pair.insert(30_000));
      await pair.restart();
      reader.close();
      for (const suffix of ["-wal", "-shm"]) fs.rmSync(pair[side] + suffix, { force: true });
      await pair.recovers();
    });
  });
}

test("a reader that opens the replica sees the last commit at once", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite", SMALL);
  await pair.begin();
  const reader = new DatabaseSync(pair.replica, { readOnly: true });
  for (let i = 0; i < 20; i++) {
    ok(await pair.insert(3000));
    const row = reader.prepare("SELECT count(*) AS n FROM t").get();
    assert.equal(row?.["n"], pair.acknowledged.size);
  }
  reader.close();
  ok(await pair.close());
});
