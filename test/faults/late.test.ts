/** What was true when work began need not be true when it ends. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Program } from "../support/program.ts";
import { failed, ok, Pair, TIMEOUT_MS } from "./pair.ts";
import { scenarios } from "./scenarios.ts";
import { skip } from "./shim.ts";

describe("a first copy that nobody waits for any more", { skip, concurrency: 2 }, () => {
  test("after a timeout: it is not taken", async (t) => {
    const pair = new Pair(t, "node:sqlite", { replicaTimeout: TIMEOUT_MS });
    pair.hangs = true;
    fill(pair.primary);
    void pair.subject;
    pair.faults.set({ on: "write", path: "replica/app.db-lockstep-new", nth: 2, does: "hang" });
    failed(await pair.open(), "REPLICA_TIMEOUT");
    change(pair.primary);
    pair.faults.set(); // the late thread goes on with its copy
    await sleep(1000);
    ofOneMoment(pair.replica);
    await pair.recovers();
    ofOneMoment(pair.replica);
  });

  test("after another replica has failed: it is not taken", async (t) => {
    const pair = new Pair(t, "node:sqlite", { replicaTimeout: TIMEOUT_MS });
    const second = `${pair.replica}-second`;
    pair.hangs = true;
    fill(pair.primary);
    void pair.subject;
    pair.faults.set(
      { on: "write", path: "replica/app.db-lockstep-new", does: { error: "ENOSPC" } },
      { on: "write", path: "second-lockstep-new", nth: 2, does: "hang" },
    );
    failed(await pair.open({ replicas: [pair.replica, second] }), "REPLICA_FULL");
    change(pair.primary);
    pair.faults.set();
    await sleep(1000);
    ofOneMoment(second);
    ok(await pair.openWhenFree({ replicas: [pair.replica, second] }));
    ok(await pair.close());
    for (const copy of [pair.replica, second]) ofOneMoment(copy);
  });
});

test("a replica whose reader is in the way for too long is let go", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite", { replicaTimeout: TIMEOUT_MS });
  await scenarios["a replica that lacks a generation and has not folded its own"].prepare(pair);
  const reader = new Program(t, pair.replica, { readOnly: true });
  await reader.sql("BEGIN");
  await reader.sql("SELECT count(*) FROM t");
  failed(await pair.open(), "REPLICA_TIMEOUT");
  pair.hangs = true; // until its thread has noticed
  failed(await pair.openWhenFree(), "REPLICA_TIMEOUT");
  await reader.end();
  await pair.recovers();
});

test("a copy that others need no more ends before the primary moves on", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const second = `${pair.replica}-second`;
  fill(pair.primary);
  void pair.subject;
  pair.faults.set(
    { on: "write", path: "replica/app.db-lockstep-new", nth: 2, does: { error: "ENOSPC" } },
    { on: "write", path: "second-lockstep-new", does: { delay: 400 } },
  );
  const reply = pair.open({ replicas: [pair.replica, second] });
  while (!pair.record().some(({ error }) => error === "ENOSPC")) await sleep(10);
  while (!tryTo(() => change(pair.primary))) await sleep(10); // as soon as it may be written
  failed(await reply, "REPLICA_FULL");
  ofOneMoment(second);
  pair.faults.set();
  ok(await pair.open({ replicas: [pair.replica, second] }));
  ok(await pair.close());
  for (const copy of [pair.replica, second]) ofOneMoment(copy);
});

function tryTo(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}

/** Some 12 MB, all rows equal. */
function fill(file: string): void {
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode=WAL; CREATE TABLE big (n INTEGER PRIMARY KEY, data INT, pad BLOB)");
  db.exec(`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000)
           INSERT INTO big SELECT n, 1, zeroblob(4000) FROM c`);
  db.close();
}

function change(file: string): void {
  const db = new DatabaseSync(file);
  db.exec("UPDATE big SET data = data + 1; PRAGMA wal_checkpoint(TRUNCATE)");
  db.close();
}

/** If there is a copy, all of it was read before the change or all of it after. */
function ofOneMoment(copy: string): void {
  if (!fs.existsSync(copy)) return;
  const db = new DatabaseSync(copy, { readOnly: true });
  assert.equal(db.prepare("SELECT DISTINCT data FROM big").all().length, 1);
  db.close();
}
