/** The connection that folds ahead closed last: it folded and unlinked a log that had to stay. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { ok, Pair } from "../faults/pair.ts";
import { skip } from "../faults/shim.ts";

test("a fence and a close while the primary is folded ahead: its log stays", {
  skip,
}, async (t) => {
  const pair = new Pair(t, "node:sqlite", { checkpointBytes: 300_000 });
  await pair.begin();
  // The replica fails in the middle of the backfill, of which the primary's file comes first.
  pair.faults.set(
    { on: "sync", path: "main/app.db", does: { delay: 300 } },
    { on: "write", path: "replica/app.db-wal", nth: 12, does: { error: "EIO" } },
  );
  let failures = 0;
  for (let i = 0; i < 12; i++) if ((await pair.insert(60_000))?.error) failures++;
  assert.ok(failures > 0);
  ok(await pair.close());
  assert.ok(fs.statSync(`${pair.primary}-wal`).size > 0, "as after a crash");
  await pair.recovers();
});
