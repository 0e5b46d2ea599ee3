/** Other programs that use the primary while it is opened. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import type { LockstepError } from "../../src/errors.ts";
import { runSql } from "../support/files.ts";
import { busyWriter, Program } from "../support/program.ts";
import { Scene } from "../support/scene.ts";

const FILL =
  "CREATE TABLE old(n INTEGER PRIMARY KEY, data BLOB); INSERT INTO old " +
  "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<300) SELECT n, randomblob(999) FROM c";

test("a program that keeps writing: a start ends with all copies equal, or says why not", async (t) => {
  let opened = 0;
  for (let i = 0; i < 6; i++) {
    const scene = Scene.make(t, { replicas: 2 });
    runSql(scene.primary, `PRAGMA journal_mode=${i % 3 ? "WAL" : "DELETE"}`, FILL);
    if (i % 2) scene.life((db) => db.put(), { replicas: [1] }); // the other one is copied
    const writer = await busyWriter(t, scene.primary, i < 3);
    let refused = "";
    for (let tries = 0; tries < 20 && !refused.endsWith("DIVERGED"); tries++) {
      try {
        const db = scene.open();
        opened++;
        db.put(3);
        await writer.stop();
        db.put(3);
        db.close();
        break;
      } catch (error) {
        refused = (error as LockstepError).code;
        assert.match(refused, /_(BUSY|DIVERGED|PRIMARY_CHANGED)$/, (error as Error).stack ?? "");
      }
    }
    t.diagnostic(`${i}: ${refused}`);
    await writer.stop();
  }
  assert.ok(opened > 0, "at least one start succeeded");
});

test("a reader of a primary in rollback-journal mode keeps it from being switched: BUSY", async (t) => {
  const scene = Scene.make(t);
  runSql(scene.primary, FILL);
  const reader = new Program(t, scene.primary, { readOnly: true });
  await reader.sql("BEGIN");
  await reader.sql("SELECT count(*) FROM old");
  const { message } = scene.refuses("BUSY");
  assert.match(message, /did not let go in 5 seconds/);
  assert.ok(!fs.existsSync(scene.replica));
  await reader.sql("COMMIT");
  scene.life((db) => db.put());
});

test("a transaction of another program that is open at the start: BUSY, and nothing is changed", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const writer = new Program(t, scene.primary);
  await writer.sql("BEGIN IMMEDIATE");
  await writer.sql("INSERT INTO t VALUES(1000, 'x')");
  scene.refuses("BUSY");
  await writer.sql("COMMIT");
  const db = scene.open(); // it is carried along
  assert.equal(db.all("SELECT count(*) AS n FROM t WHERE n = 1000")[0]?.["n"], 1);
  db.put();
  await writer.end();
  db.close();
});

test("in step, what is read does not grow with the database", (t) => {
  const read = (megabytes: number): number => {
    const scene = Scene.make(t);
    runSql(scene.primary, `CREATE TABLE old AS SELECT zeroblob(${megabytes << 20}) AS x`);
    scene.life((db) => db.put());
    const before = bytesRead();
    const db = scene.open();
    const { hub } = db;
    const after = bytesRead();
    assert.equal(hub.failure, null);
    db.close();
    db.assertNothingCopied();
    return after - before;
  };
  const small = read(1);
  const large = read(100);
  assert.ok(large < small + (1 << 20), `${small} bytes read of 1 MB, ${large} of 100 MB`);
});

/** By all threads of this process, from files and pipes; 0 where the system does not say. */
function bytesRead(): number {
  if (!fs.existsSync("/proc/self/io")) return 0;
  const [, bytes] = /^rchar: (\d+)$/m.exec(fs.readFileSync("/proc/self/io", "utf8")) ?? [];
  return Number(bytes ?? 0);
}
