/** The primary lacks what the replica holds: it is rolled forward before anybody reads it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { frameOffset } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { driversOr } from "../support/drivers.ts";
import { runSql } from "../support/files.ts";
import { type Db, Scene } from "../support/scene.ts";

const SMALL = { checkpointBytes: 65536 };

/** The primary as after a power cut on a disk that lied: its log ends here. */
function cutLog(scene: Scene, bytes: number): void {
  fs.truncateSync(`${scene.primary}-wal`, bytes);
}

function untilCheckpoint(db: Db): void {
  const before = db.happened.length;
  while (db.happened.length === before) db.put(1, 8000);
}

/** All acknowledged rows are read at once after the start, before any further commit. */
function assertRolledForward(scene: Scene): void {
  const db = scene.open();
  db.assertNothingCopied();
  const [row] = db.all("SELECT count(*) AS n FROM t");
  assert.equal(row?.["n"], scene.acknowledged.size);
  assert.ok(scene.events(scene.primary).includes("rolled forward"));
  db.put(2);
  db.close();
  scene.life((again) => again.put()).assertNothingCopied();
}

for (const driver of driversOr("node:sqlite")) {
  test(`${driver}: a torn tail in the generation of both`, (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put(6, 3000);
    const commits = scanLog(`${scene.primary}-wal`)?.commits ?? [];
    const frames = commits.map(({ frame }) => frame);
    for (const frame of [frames[0], frames[3], frames.at(-1)] as number[]) {
      for (const cut of [-1, 0, 24]) {
        const image = scene.crashImage();
        const length = frameOffset(frame, 4096) + cut;
        if (length < 32) continue;
        cutLog(image, length);
        assertRolledForward(image);
      }
    }
    db.close();
  });

  test(`${driver}: all of the log is gone`, (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put(6, 3000);
    for (const lose of [
      (image: Scene) => fs.rmSync(`${image.primary}-wal`),
      (image: Scene) => cutLog(image, 0),
      (image: Scene) => cutLog(image, 31),
      (image: Scene) => cutLog(image, 32),
      (image: Scene) => fs.writeFileSync(`${image.primary}-wal`, Buffer.alloc(9000, 7)),
    ]) {
      const image = scene.crashImage();
      lose(image);
      assertRolledForward(image);
    }
    db.close();
  });

  test(`${driver}: the next generation never reached the primary's disk`, (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open(SMALL);
    untilCheckpoint(db);
    const old = fs.readFileSync(`${scene.primary}-wal`);
    db.put(2);
    const image = scene.crashImage();
    fs.writeFileSync(`${image.primary}-wal`, old);
    assertRolledForward(image);
    const without = scene.crashImage();
    fs.rmSync(`${without.primary}-wal`);
    assertRolledForward(without);
    db.close();
  });
}

test("a start that is cut off after the roll forward starts again", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(6, 3000);
  const image = scene.crashImage();
  cutLog(image, 10_000);
  const once = image.open();
  const twice = image.crashImage(); // rolled forward, nothing committed since
  assertRolledForward(twice);
  once.close();
  db.close();
});

test("two replicas ahead, one further than the other: the primary gets all", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const db = scene.open();
  db.put(6, 3000);
  const commits = scanLog(`${scene.primary}-wal`)?.commits ?? [];
  const end = (i: number): number => frameOffset((commits.at(i)?.frame ?? 0) + 1, 4096);
  for (const [mine, first, second] of [
    [-4, -1, -3],
    [-4, -3, -1],
    [-3, -1, -4],
    [-2, -4, -1],
  ] as const) {
    const image = scene.crashImage();
    cutLog(image, end(mine));
    fs.truncateSync(`${image.replicas[0]}-wal`, end(first));
    fs.truncateSync(`${image.replicas[1]}-wal`, end(second));
    assertRolledForward(image);
  }
  db.close();
});

test("the replica that is furthest is chosen by proof, not by the length of its history", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  runSql(scene.primary, "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)");
  for (let i = 0; i < 5; i++) scene.life((db) => db.put(), { replicas: [1] });
  // The second one is new, and its history short; then it alone is attached.
  scene.life((db) => db.put());
  const db = scene.open({ replicas: [2] });
  db.put(3);
  const image = scene.crashImage();
  cutLog(image, 0);
  const again = image.open();
  assert.equal(again.all("SELECT count(*) AS n FROM t")[0]?.["n"], image.acknowledged.size);
  again.put();
  again.close();
  db.close();
});
