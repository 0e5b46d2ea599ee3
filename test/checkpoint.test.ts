/** Checkpoints: when the log restarts, who may put that off, and what other programs can do to it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { loadDriver } from "../src/driver.ts";
import type { LockstepError } from "../src/errors.ts";
import { checkpoint } from "../src/targets/file.ts";
import { decodeWalHeader } from "../src/wal/format.ts";
import { scratch } from "./scratch.ts";
import { DRIVERS, driversOr } from "./support/drivers.ts";
import { logEnd, readAtRest } from "./support/files.ts";
import { busyWriter, Program, visitor } from "./support/program.ts";
import { type Db, Scene } from "./support/scene.ts";

const SMALL = { checkpointBytes: 65536 };

/** The generation in a copy's log. */
function saltsOf(copy: string): string {
  const header = decodeWalHeader(fs.readFileSync(`${copy}-wal`).subarray(0, 32));
  return `${header?.salt1} ${header?.salt2}`;
}

function count(db: Db, event: string): number {
  return db.happened.filter((each) => each === event).length;
}

for (const driver of driversOr("node:sqlite")) {
  test(`${driver}: past the size the log restarts under new salts, in every copy`, (t) => {
    const scene = Scene.make(t, { driver, replicas: 2 });
    const db = scene.open(SMALL);
    const generations = new Set<string>();
    for (let i = 0; i < 60; i++) {
      db.put(1, 8000);
      const [salts, ...others] = scene.copies.map(saltsOf);
      for (const other of others) assert.equal(other, salts);
      generations.add(salts as string);
    }
    const done = count(db, "checkpoint");
    assert.ok(done >= 3, `${done} checkpoints`);
    assert.ok(generations.size === done || generations.size === done + 1);
    for (const copy of scene.copies) {
      assert.ok(fs.statSync(`${copy}-wal`).size < 300_000, "the log does not grow on");
    }
    db.close();
  });

  test(`${driver}: a larger log is folded ahead, while commits go on`, (t) => {
    const scene = Scene.make(t, { driver, replicas: 2 });
    const checkpointBytes = 400_000;
    const db = scene.open({ checkpointBytes });
    let ahead = 0;
    let largest = 0;
    while (count(db, "checkpoint") < 5) {
      const before = db.happened.length;
      db.put(1, 20_000);
      const folding = scene.copies.every((copy) => scene.sidecar(copy).state.folding);
      if (folding && db.happened.length === before) ahead++;
      for (const copy of scene.copies) largest = Math.max(largest, logEnd(copy));
    }
    assert.ok(ahead > 0, "commits were made meanwhile");
    assert.ok(largest > checkpointBytes && largest < 4 * checkpointBytes + 50_000, `${largest}`);
    db.close();
  });

  test(`${driver}: a reader keeps a larger log from being folded: it is said, and since when`, async (t) => {
    const scene = Scene.make(t, { driver });
    for (const copy of scene.copies) {
      const db = scene.open({ checkpointBytes: 400_000 });
      const since: number[] = [];
      db.hub.replication.on("checkpoint-postponed", (_, sinceMs) => since.push(sinceMs));
      db.put(2);
      const reader = new Program(t, copy, { readOnly: true });
      await reader.sql("BEGIN");
      await reader.sql("SELECT count(*) FROM t");
      while (since.length < 3) db.put(1, 20_000);
      assert.equal(count(db, "checkpoint"), 0);
      assert.equal(since[0], 0);
      assert.deepEqual(
        since.toSorted((a, b) => a - b),
        since,
      );
      await reader.sql("COMMIT");
      while (count(db, "checkpoint") === 0) db.put(1, 20_000);
      await reader.end();
      db.close();
    }
  });

  test(`${driver}: a reader of any copy puts it off; the log grows, and later it succeeds`, async (t) => {
    const scene = Scene.make(t, { driver });
    for (const copy of scene.copies) {
      const db = scene.open(SMALL);
      db.put(2);
      const reader = new Program(t, copy, { readOnly: true });
      await reader.sql("BEGIN");
      const [before] = await reader.sql("SELECT count(*) AS n FROM t");
      db.put(20, 8000);
      assert.ok(count(db, "checkpoint-postponed") > 0, db.happened.join());
      assert.equal(count(db, "checkpoint"), 0);
      assert.ok(fs.statSync(`${scene.replica}-wal`).size > 160_000);
      assert.deepEqual(await reader.sql("SELECT count(*) AS n FROM t"), [before]);
      assert.deepEqual(await reader.sql("PRAGMA integrity_check"), [{ integrity_check: "ok" }]);
      await reader.sql("COMMIT");
      db.put(20, 8000);
      assert.ok(count(db, "checkpoint") > 0);
      await reader.end();
      db.close();
    }
  });

  test(`${driver}: readers that come and go never fail a commit, nor a close`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open(SMALL);
    db.put(2);
    const ends = await Promise.all(scene.copies.map((copy) => visitor(t, copy)));
    while (count(db, "checkpoint") < 10 && db.happened.length < 60) db.put(1, 30_000);
    assert.ok(count(db, "checkpoint") > 0);
    db.abandon(); // a log may be left where a reader was in the way: no comparison of files
    for (const end of ends) await end();
    assert.deepEqual(
      db.happened.filter((event) => event.startsWith("ERR")),
      [],
    );
  });
}

test("a reader that outlives a close keeps the replica's log, and never a commit waiting", async (t) => {
  const scene = Scene.make(t);
  const first = scene.open();
  // Pages whose only version lies at the beginning of the log, where the next one will be written.
  first.exec(
    "CREATE TABLE still AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c " +
      "WHERE n < 30) SELECT n, hex(randomblob(900)) AS text FROM c",
  );
  first.exec("CREATE TABLE pair(side INTEGER PRIMARY KEY, n INTEGER, filler BLOB)");
  first.exec("INSERT INTO pair VALUES(1, 0, NULL), (2, 0, NULL)");
  first.put(3);
  const idle = new Program(t, scene.replica, { readOnly: true });
  const still = await idle.sql("SELECT * FROM still");
  first.abandon();
  assert.ok(fs.existsSync(`${scene.replica}-wal`), "its log stays");
  assert.ok(!fs.existsSync(`${scene.primary}-wal`));

  const db = scene.open({ ...SMALL, replicaTimeout: 4000 });
  const reader = new Program(t, scene.replica, { readOnly: true }); // with nothing in its cache
  let n = 0;
  const step = (): void => db.exec(`UPDATE pair SET n = ${++n}, filler = randomblob(6000)`);
  for (let i = 0; i < 12; i++) {
    await reader.sql("BEGIN");
    const [one] = await reader.sql("SELECT n FROM pair WHERE side = 1");
    for (let k = 0; k < 2; k++) step(); // in what would be the place of older pages
    assert.deepEqual(await reader.sql("SELECT * FROM still"), still);
    const [two] = await reader.sql("SELECT n FROM pair WHERE side = 2");
    assert.deepEqual(two, one, "both rows are of one state");
    assert.deepEqual(await reader.sql("PRAGMA quick_check"), [{ quick_check: "ok" }]);
    await reader.sql("COMMIT");
    for (let k = 0; k < 6; k++) step();
    const [now] = await reader.sql("SELECT n FROM pair WHERE side = 1");
    assert.equal(now?.["n"], n, "and a new reader sees the last commit");
  }
  assert.ok(count(db, "checkpoint") > 0);
  await reader.end();
  await idle.end();
  db.close();
});

test("another program writes and checkpoints all the while: nothing is lost, or it is said", async (t) => {
  for (let i = 0; i < 3; i++) {
    const scene = Scene.make(t);
    const db = scene.open(SMALL);
    db.put();
    const writer = await busyWriter(t, scene.primary, true);
    try {
      for (let k = 0; k < 40; k++) {
        db.put(1, 6000);
        await new Promise((resolve) => setTimeout(resolve, k % 7));
      }
      await writer.stop();
      db.close();
    } catch (error) {
      assert.equal((error as LockstepError).code, "ERR_LOCKSTEP_PRIMARY_CHANGED");
      await writer.stop();
      db.abandon();
      const found = readAtRest(scene.replica, (alone) => alone.prepare("SELECT n FROM t").all());
      const rows = new Set(found.map((row) => row["n"]));
      for (const row of scene.acknowledged.keys()) assert.ok(rows.has(row), `row ${row}`);
      t.diagnostic("PRIMARY_CHANGED");
    }
  }
});

for (const name of DRIVERS) {
  test(`${name}: all three columns of the pragma's row`, async (t) => {
    const file = path.join(scratch(t), "a.db");
    const connection = loadDriver(name).open(file);
    const row = (mode: "PASSIVE" | "RESTART" | "TRUNCATE"): unknown => checkpoint(connection, mode);
    assert.deepEqual(row("PASSIVE"), { busy: false, log: -1, checkpointed: -1 }, "not in WAL mode");
    connection.all("PRAGMA journal_mode=WAL");
    connection.exec("CREATE TABLE t(x)"); // pages 1 and 2
    assert.deepEqual(row("PASSIVE"), { busy: false, log: 2, checkpointed: 2 });
    const reader = new Program(t, file);
    await reader.sql("BEGIN");
    await reader.sql("SELECT count(*) FROM t");
    connection.exec("INSERT INTO t VALUES(1)"); // one frame, in a log that began anew
    assert.deepEqual(row("RESTART"), { busy: true, log: 1, checkpointed: 0 });
    await reader.sql("COMMIT");
    assert.deepEqual(row("RESTART"), { busy: false, log: 1, checkpointed: 1 });
    assert.deepEqual(row("TRUNCATE"), { busy: false, log: 0, checkpointed: 0 });
    await reader.end();
    connection.close();
  });
}
