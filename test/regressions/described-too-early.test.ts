/**
 * The primary was described before the start waited for its mirrors' threads, and not again: what another
 * program wrote meanwhile was rolled over, and its file was malformed.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { failed, ok, Pair } from "../faults/pair.ts";
import { skip } from "../faults/shim.ts";

test("another program writes the primary while the replica is being locked", {
  skip,
}, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  await pair.begin();
  for (let i = 0; i < 20; i++) ok(await pair.insert(3000));
  await pair.restart(); // as after a crash
  for (const suffix of ["-wal", "-shm"]) fs.rmSync(pair.primary + suffix); // the replica is ahead
  void pair.subject;
  pair.faults.set({ on: "write", path: "replica/app.db-lockstep-journal", does: "hang" });
  const opening = pair.open();
  await pair.faults.hanging();
  const other = new DatabaseSync(pair.primary);
  other.exec("CREATE TABLE foreigner AS SELECT zeroblob(9000) AS data");
  other.close();
  const before = fs.readFileSync(pair.primary);
  pair.faults.set();
  failed(await opening, "DIVERGED");
  assert.ok(fs.readFileSync(pair.primary).equals(before), "the primary was not touched");
});
