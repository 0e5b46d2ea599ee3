/** restoreMissing: the primary is gone, a replica takes its place, on a new timeline. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { driversOr } from "../support/drivers.ts";
import { logEnd } from "../support/files.ts";
import { Scene } from "../support/scene.ts";

const RESTORE = { restoreMissing: true };

function timelines(scene: Scene): number[] {
  return scene.copies.map((copy) => scene.sidecar(copy).state.timeline);
}

function burn(copy: string): void {
  fs.rmSync(path.dirname(copy), { recursive: true });
  fs.mkdirSync(path.dirname(copy));
}

for (const driver of driversOr("better-sqlite3")) {
  test(`${driver}: the disk is new: everything acknowledged comes back`, (t) => {
    const scene = Scene.make(t, { driver });
    scene.life((db) => db.put(5));
    fs.chmodSync(scene.replica, 0o640);
    burn(scene.primary);
    const db = scene.open(RESTORE);
    assert.deepEqual(db.phases(), ["copy"]);
    db.put(2);
    db.close();
    assert.deepEqual(timelines(scene), [2, 2]);
    assert.equal(fs.statSync(scene.primary).mode & 0o777, 0o640);
    scene.life((again) => again.put()).assertNothingCopied();
  });

  test(`${driver}: the replica still has a log, as a crash leaves it`, (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open({ checkpointBytes: 65536 });
    db.put(9, 9000);
    const image = scene.crashImage();
    burn(image.primary);
    image.life((again) => again.put(), RESTORE);
    db.close();
  });
}

test("only the file is gone, or empty; what lies beside it is not replayed", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(5);
  for (const lose of [
    (file: string) => fs.rmSync(file),
    (file: string) => fs.writeFileSync(file, ""),
  ]) {
    const image = scene.crashImage();
    const stale = fs.readFileSync(`${image.primary}-wal`);
    lose(image.primary);
    fs.writeFileSync(`${image.primary}-wal`, stale);
    image.life((again) => again.put(), RESTORE);
    assert.deepEqual(timelines(image), [2, 2]);
  }
  db.close();
});

test("it restores nothing over a primary that is there", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(2));
  scene.life((db) => db.put(2), RESTORE);
  assert.deepEqual(timelines(scene), [1, 1]);
  const other = Scene.make(t);
  other.life((db) => db.put(), RESTORE); // nothing on either side: it begins
});

test("the old primary is refused when it comes back", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const away = path.join(scene.root, "away");
  fs.renameSync(path.dirname(scene.primary), away);
  fs.mkdirSync(path.dirname(scene.primary));
  scene.life((db) => db.put(), RESTORE);
  burn(scene.primary);
  fs.rmdirSync(path.dirname(scene.primary));
  fs.renameSync(away, path.dirname(scene.primary));
  const { message } = scene.refuses("FENCED");
  assert.match(message, /promoted: another primary took its place/);
  scene.refuses("FENCED", RESTORE);
});

test("the same with a second replica that was there all the while", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  scene.life((db) => db.put(3));
  const away = path.join(scene.root, "away");
  fs.renameSync(path.dirname(scene.primary), away);
  fs.mkdirSync(path.dirname(scene.primary));
  scene.life(() => {}, RESTORE);
  assert.deepEqual(timelines(scene), [2, 2, 2]);
  fs.rmSync(path.dirname(scene.primary), { recursive: true });
  fs.renameSync(away, path.dirname(scene.primary));
  scene.refuses("FENCED", { replicas: [1] });
  scene.refuses("FENCED", { replicas: [2] });
});

test("of several replicas the one that contains the others is taken, whatever their order", (t) => {
  const scene = Scene.make(t, { replicas: 3 });
  // The first has the longest record, and is the oldest; the third is new, and has it all.
  for (let i = 0; i < 4; i++) scene.life((db) => db.put(), { replicas: [1, 2] });
  for (let i = 0; i < 2; i++) scene.life((db) => db.put(2), { replicas: [2] });
  scene.life((db) => db.put(2), { replicas: [2, 3] });
  scene.life((db) => db.put(2), { replicas: [3] });
  for (const replicas of [
    [1, 2, 3],
    [3, 2, 1],
  ]) {
    const image = scene.crashImage();
    burn(image.primary);
    image.life((db) => db.put(), { ...RESTORE, replicas });
    image.life((db) => db.put());
  }
});

test("replicas of one generation, cut off at different commits", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const db = scene.open();
  db.put(4, 3000);
  const size = logEnd(scene.replica);
  for (const behind of [0, 1]) {
    const image = scene.crashImage();
    fs.truncateSync(`${image.replicas[behind]}-wal`, size - 8000);
    burn(image.primary);
    image.life((again) => again.put(), RESTORE);
  }
  db.close();
});

test("replicas that parted are not chosen from", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  scene.life((db) => db.put(3));
  const apart = scene.crashImage();
  // Each goes on with a primary of its own.
  scene.life((db) => db.put(1, 200), { replicas: [1] });
  apart.life((db) => db.put(1, 300), { replicas: [2] });
  burn(scene.primary);
  burn(scene.replicas[1] as string);
  fs.rmdirSync(path.dirname(scene.replicas[1] as string));
  fs.renameSync(
    path.dirname(apart.replicas[1] as string),
    path.dirname(scene.replicas[1] as string),
  );
  const { message } = scene.refuses("DIVERGED", RESTORE);
  assert.match(message, /none of its replicas contains all the others/);
  assert.ok(!fs.existsSync(scene.primary));
});

test("restored from the older replica: the newer one is not taken for its past", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  scene.life((db) => db.put(2));
  for (let i = 0; i < 3; i++) scene.life((db) => db.put(2), { replicas: [2] });
  fs.rmSync(scene.primary); // its record is still there, and knows what the second replica holds
  const db = scene.open({ ...RESTORE, replicas: [1] });
  db.abandon();
  scene.refuses("PRIMARY_STALE");
  const again = scene.open({ replicas: [1] });
  again.native.exec("DELETE FROM t");
  again.abandon();
  scene.refuses("DIVERGED");
});

test("a replica whose lineage is not proven is not restored from by itself", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  fs.utimesSync(scene.replica, new Date(), new Date());
  burn(scene.primary);
  scene.refuses("PRIMARY_MISSING", RESTORE);
});

test("promotion by hand: the replica is opened as the primary, the old primary as its replica", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const swapped = Scene.swapped(t, scene);
  swapped.life((db) => db.put(2));
  swapped.life((db) => db.put(2)).assertNothingCopied();
  // The one that was replaced does not get its office back with its old replica promoted.
  fs.utimesSync(swapped.replica, new Date(), new Date());
  swapped.life((db) => db.put());
});
