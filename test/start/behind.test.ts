/** The replica is behind: only what it lacks is sent. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { logEnd, runSql } from "../support/files.ts";
import { elsewhere } from "../support/program.ts";
import { type Db, Scene } from "../support/scene.ts";

const SMALL = { checkpointBytes: 65536 };

/** Commits until a checkpoint is done: the next commit begins a new generation. */
function untilCheckpoint(db: Db): void {
  const before = db.happened.length;
  for (let i = 0; db.happened.length === before; i++) {
    assert.ok(i < 100, "a checkpoint comes");
    db.put(1, 8000);
  }
}

test("by frames of one generation: they are sent, nothing is copied", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(5);
  for (let n = 100; n < 103; n++) {
    db.putUnacknowledged(n);
    const image = scene.crashImage();
    const again = image.open();
    again.assertNothingCopied();
    assert.equal(again.all(`SELECT count(*) AS n FROM t WHERE n >= 100`)[0]?.["n"], n - 99);
    again.put();
    again.close();
  }
  db.close();
});

test("by a generation: the whole new one is sent", (t) => {
  const scene = Scene.make(t);
  const db = scene.open(SMALL);
  untilCheckpoint(db);
  db.putUnacknowledged(1000);
  const image = scene.crashImage();
  image.life((again) => again.put()).assertNothingCopied();
  db.close();
});

test("by a generation, its own log gone: it gets the primary's, whole", (t) => {
  const scene = Scene.make(t);
  const db = scene.open(SMALL);
  untilCheckpoint(db);
  db.putUnacknowledged(1000);
  const image = scene.crashImage();
  for (const suffix of ["-wal", "-shm"]) fs.rmSync(image.replica + suffix);
  image.life((again) => again.put()).assertNothingCopied();
  db.close();
});

test("by more than the ring holds", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put();
  db.native.exec(
    "INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 100 UNION ALL SELECT n+1 FROM c WHERE n<400) " +
      "SELECT n, randomblob(60000) FROM c",
  );
  const image = scene.crashImage();
  assert.ok(fs.statSync(`${image.primary}-wal`).size > 16 << 20);
  image.life((again) => again.put()).assertNothingCopied();
  db.close();
});

test("its log was lost with the disk's cache, its file was not", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(5);
  const image = scene.crashImage();
  fs.truncateSync(`${image.replica}-wal`, 0);
  image.life((again) => again.put()).assertNothingCopied();
  db.close();
});

test("its log is torn anywhere", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(5, 5000);
  const size = logEnd(scene.replica);
  for (const cut of [31, 33, 5000, size - 4120, size - 1]) {
    const image = scene.crashImage();
    fs.truncateSync(`${image.replica}-wal`, cut);
    image.life((again) => again.put()).assertNothingCopied();
  }
  db.close();
});

test("detached for several generations: the pages that differ, as one transaction", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const [, two] = scene.replicas as [string, string];
  runSql(scene.primary, "CREATE TABLE old(x)", "INSERT INTO old VALUES(zeroblob(2000000))");
  scene.life((db) => db.put(3));
  for (let i = 0; i < 3; i++) scene.life((db) => db.put(3), { replicas: [1] });
  const db = scene.open(SMALL);
  assert.deepEqual(db.phases(), ["delta"]);
  assert.ok(db.progress.every(({ path }) => path === two));
  db.put();
  db.close();
  assert.deepEqual(scene.events(two), ["copied", "closed", "re-synchronised", "closed"]);
  const [written] = scene.sidecar(two).events.filter(({ what }) => what === "re-synchronised");
  assert.match(written?.detail ?? "", /^[1-9] pages written/);
});

test("detached while the primary grew, shrank and stood still", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  scene.life((db) => db.put(3));
  for (const change of [
    (db: Db) => db.put(30, 8000),
    (db: Db) => {
      db.exec("CREATE TABLE big(x); INSERT INTO big VALUES(zeroblob(900000))");
      db.exec("DROP TABLE big");
      db.exec("VACUUM");
    },
    () => {},
  ]) {
    scene.life(change, { ...SMALL, replicas: [1] });
    scene.life((db) => db.put(), SMALL);
  }
});

test("pulled out in mid-generation, back after the log was restarted", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const db = scene.open();
  db.put(5);
  const image = scene.crashImage(); // both replicas stand in the middle of the log
  image.life((again) => again.put(30, 8000), { ...SMALL, replicas: [1] });
  image.life((again) => again.put(3), { replicas: [1] });
  const back = image.open();
  assert.deepEqual(back.phases(), ["delta"]);
  back.put();
  back.close();
  db.close();
});

test("pulled out one commit before the crash, back after the log was restarted", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const db = scene.open();
  db.put(5);
  db.native.exec("INSERT INTO t VALUES(1000, 'x'); INSERT INTO t VALUES(1001, 'x')");
  const image = scene.crashImage(); // the primary is two commits ahead
  image.life((again) => again.put(30, 8000), { ...SMALL, replicas: [1] });
  image.life((again) => again.put(3), { replicas: [1] });
  image.life((again) => again.put());
  db.close();
});

test("one in step, one behind, one missing: each gets what it lacks", (t) => {
  const scene = Scene.make(t, { replicas: 3 });
  const [, two, three] = scene.replicas as [string, string, string];
  scene.life((db) => db.put(3), { replicas: [1, 2] });
  scene.life((db) => db.put(3), { replicas: [1] });
  const db = scene.open();
  assert.deepEqual(
    new Set(db.progress.map(({ phase, path }) => `${phase} ${path}`)),
    new Set([`delta ${two}`, `copy ${three}`]),
  );
  db.put();
  db.close();
});

test("in step but without the log that the primary still has", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const [, two] = scene.replicas as [string, string];
  const db = scene.open({ replicas: [1] });
  db.put(5);
  const image = scene.crashImage();
  // A copy into a primary whose log stays in place: the replica gets that log as well.
  const both = image.open();
  both.put(2);
  const second = image.crashImage();
  assert.ok(fs.statSync(`${two.replace(scene.root, second.root)}-wal`).size > 0);
  second.life((again) => again.put()).assertNothingCopied();
  both.close();
  db.close();
});

test("another program's commits, made while Lockstep was away, are sent if the log holds them all", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  elsewhere(scene.primary, ["INSERT INTO t VALUES(1000, 'foreign')"], { killed: true });
  const db = scene.open();
  db.assertNothingCopied();
  assert.equal(db.all("SELECT data FROM t WHERE n = 1000")[0]?.["data"], "foreign");
  db.put();
  db.close();
});
