/** What cannot be proven is refused: with the code, what to run, and not a byte changed. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { sidecarPath } from "../../src/lineage/sidecar.ts";
import { copyDirectory, logEnd, readAtRest, runSql } from "../support/files.ts";
import { elsewhere } from "../support/program.ts";
import { Scene } from "../support/scene.ts";

const INSERT = "INSERT INTO t VALUES(1000, 'foreign')";
const FOREIGN = "SELECT n FROM t WHERE n = 1000";

function keep(copy: string): string {
  const directory = `${path.dirname(copy)}-kept`;
  fs.rmSync(directory, { recursive: true, force: true });
  copyDirectory(path.dirname(copy), directory);
  return path.join(directory, path.basename(copy));
}

// DIVERGED

test("the primary was changed by another program while Lockstep was away", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  elsewhere(scene.primary, [INSERT]);
  const { message } = scene.refuses("DIVERGED");
  assert.match(message, /written since Lockstep last closed it/);
  assert.match(message, /lockstep sync .* --from primary, or --from replica/);
  scene.refuses("DIVERGED"); // again, and again without a change
});

test("the same with a commit that nobody acknowledged on the replica's side", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  scene.life((db) => db.put(3));
  scene.life((db) => db.put(3), { replicas: [1] });
  elsewhere(scene.primary, ["DELETE FROM t"]);
  scene.refuses("DIVERGED");
  scene.refuses("DIVERGED", { replicas: [2] });
});

test("the replica was changed by another program while Lockstep was away", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  elsewhere(scene.replica, [INSERT]);
  scene.refuses("DIVERGED");
});

test("a program began a log beside the replica and was killed", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  elsewhere(scene.replica, [INSERT], { killed: true });
  assert.match(scene.refuses("DIVERGED").message, /its log was begun by another program/);
});

test("a program went on in the log that a crash left beside the replica: nobody can tell", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(3);
  const image = scene.crashImage();
  db.close();
  elsewhere(image.replica, [INSERT], { killed: true });
  image.life(); // as after a primary's torn tail: what one copy holds is not given up
  assert.ok(image.events(image.primary).includes("rolled forward"));
  assert.equal(readAtRest(image.primary, (at) => at.prepare(FOREIGN).all()).length, 1);
});

test("both went on from one crash, apart", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(3);
  const image = scene.crashImage();
  for (const [i, copy] of image.copies.entries()) {
    elsewhere(copy, [`INSERT INTO t VALUES(${2000 + i}, 'x')`], { killed: true });
  }
  image.refuses("DIVERGED");
  db.close();
});

test("an older file under a log that stayed", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const old = keep(scene.primary);
  const db = scene.open({ checkpointBytes: 65536 });
  db.put(20, 8000);
  for (const side of ["primary", "replica"] as const) {
    const image = scene.crashImage();
    assert.ok(fs.statSync(`${image[side]}-wal`).size > 0);
    fs.copyFileSync(old, image[side]);
    image.refuses("DIVERGED");
  }
  db.close();
});

test("a stale log beside a file that is as it was: SQLite would replay it", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(3);
  const stale = fs.readFileSync(`${scene.primary}-wal`);
  db.exec("UPDATE t SET data = 'newer'");
  for (const n of [1, 2, 3]) scene.acknowledged.set(n, 5);
  db.close();
  scene.life((again) => again.put());
  for (const copy of scene.copies) {
    fs.writeFileSync(`${copy}-wal`, stale);
    scene.refuses("DIVERGED");
    fs.rmSync(`${copy}-wal`);
  }
  scene.life((again) => again.put()).assertNothingCopied();
});

test("a hot journal beside a copy in step: SQLite would roll it back", (t) => {
  const scene = Scene.make(t);
  const other = path.join(scene.root, "other.db");
  runSql(other, "CREATE TABLE old(x); INSERT INTO old VALUES(zeroblob(900000))");
  elsewhere(other, ["PRAGMA cache_size=2", "BEGIN", "UPDATE old SET x=randomblob(900000)"], {
    killed: true,
  });
  scene.life((db) => db.put(3));
  fs.copyFileSync(`${other}-journal`, `${scene.replica}-journal`);
  const before = fs.readFileSync(scene.replica);
  assert.throws(() => scene.open().abandon());
  assert.ok(fs.readFileSync(scene.replica).equals(before));
});

// A snapshot of one side, put back.

test("the primary's file comes from an older snapshot, by cp and by cp -p", (t) => {
  for (const keepTimes of [false, true]) {
    const scene = Scene.make(t);
    scene.life((db) => db.put(3));
    const old = keep(scene.primary);
    const { atime, mtime } = fs.statSync(old);
    scene.life((db) => db.put(3));
    fs.copyFileSync(old, scene.primary);
    if (keepTimes) fs.utimesSync(scene.primary, atime, mtime);
    scene.refuses("DIVERGED");
  }
});

test("the primary and its record come from an older snapshot", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const old = scene.crashImage();
  scene.life((db) => db.put(3));
  // A snapshot of the disk: everything of the primary as it was, inodes too.
  const image = scene.crashImage();
  fs.rmSync(path.dirname(image.primary), { recursive: true });
  fs.renameSync(path.dirname(old.primary), path.dirname(image.primary));
  const { message } = image.refuses("PRIMARY_STALE");
  assert.match(message, /lockstep sync .* --from replica/);
});

test("the same after several generations, and in the middle of one", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const db = scene.open({ checkpointBytes: 65536 });
  db.put(2);
  const old = scene.crashImage();
  db.put(30, 8000);
  db.close();
  fs.rmSync(path.dirname(scene.primary), { recursive: true });
  fs.renameSync(path.dirname(old.primary), path.dirname(scene.primary));
  const error = scene.refuses("DIVERGED"); // no record of ours names that commit: it is refused
  assert.match(error.message, /neither side's history/);
});

test("the replica comes from an older snapshot: it is behind, and catches up", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const old = scene.crashImage();
  scene.life((db) => db.put(3));
  fs.rmSync(path.dirname(scene.replica), { recursive: true });
  fs.renameSync(path.dirname(old.replica), path.dirname(scene.replica));
  const db = scene.open();
  assert.deepEqual(db.phases(), ["delta"]);
  db.close();
});

// PRIMARY_MISSING

test("the primary is missing, or empty", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  fs.rmSync(scene.primary);
  const { message, copy } = scene.refuses("PRIMARY_MISSING");
  assert.equal(copy, scene.primary);
  assert.match(message, /lockstep restore .*restoreMissing: true/);
  assert.ok(!fs.existsSync(scene.primary));
  fs.writeFileSync(scene.primary, "");
  scene.refuses("PRIMARY_MISSING");
  for (const name of fs.readdirSync(path.dirname(scene.primary))) {
    fs.rmSync(path.join(path.dirname(scene.primary), name));
  }
  scene.refuses("PRIMARY_MISSING");
  fs.rmSync(path.dirname(scene.primary), { recursive: true });
  fs.mkdirSync(path.dirname(scene.primary));
  scene.refuses("PRIMARY_MISSING");
});

// REPLICA_UNKNOWN

test("a database that is not its replica", (t) => {
  const scene = Scene.make(t);
  runSql(scene.primary, "CREATE TABLE mine(x)");
  runSql(scene.replica, "CREATE TABLE theirs(x)");
  const { message, copy } = scene.refuses("REPLICA_UNKNOWN");
  assert.equal(copy, scene.replica);
  assert.match(message, /pages differ/);
  assert.ok(!fs.existsSync(sidecarPath(scene.replica)), "no record is left beside it");
});

test("another database's replica", (t) => {
  const [mine, theirs] = [Scene.make(t), Scene.make(t)];
  mine.life((db) => db.put(2));
  theirs.life((db) => db.put(3));
  fs.rmSync(path.dirname(mine.replica), { recursive: true });
  fs.renameSync(path.dirname(theirs.replica), path.dirname(mine.replica));
  const { message } = mine.refuses("REPLICA_UNKNOWN");
  assert.match(message, /of another database/);
});

test("a file that is no database", (t) => {
  for (const side of ["primary", "replica"] as const) {
    const scene = Scene.make(t);
    scene.life((db) => db.put(2));
    fs.writeFileSync(scene[side], "To whom it may concern: this is a letter.\n".repeat(200));
    assert.equal(scene.refuses("NOT_A_DATABASE").copy, scene[side]);
  }
});

test("equal pages are adopted, whatever the record says or does not say", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const forget: [string, () => void][] = [
    ["the replica's record", () => fs.rmSync(sidecarPath(scene.replica))],
    ["the primary's record", () => fs.rmSync(sidecarPath(scene.primary))],
    ["both", () => void scene.copies.map((copy) => fs.rmSync(sidecarPath(copy)))],
    ["the file's time", () => fs.utimesSync(scene.replica, new Date(), new Date())],
  ];
  for (const [what, lose] of forget) {
    lose();
    const db = scene.open();
    assert.deepEqual(db.phases(), ["compare"], what);
    db.put();
    db.close();
    scene.life().assertNothingCopied();
  }
});

test("a plain copy of the primary is adopted, also of one in rollback-journal mode", (t) => {
  for (const mode of ["WAL", "DELETE"]) {
    const scene = Scene.make(t);
    runSql(
      scene.primary,
      `PRAGMA journal_mode=${mode}; CREATE TABLE old(x); INSERT INTO old VALUES(1)`,
    );
    fs.copyFileSync(scene.primary, scene.replica);
    const db = scene.open();
    assert.ok(db.phases().includes("compare"));
    db.put();
    db.close();
  }
});

// SIDECAR

test("a record that is garbage or of a newer format is not overwritten", (t) => {
  for (const side of ["primary", "replica"] as const) {
    const scene = Scene.make(t);
    scene.life((db) => db.put());
    const record = sidecarPath(scene[side]);
    const good = fs.readFileSync(record);
    runSql(record, "UPDATE state SET value='99' WHERE key='format'");
    for (const content of [fs.readFileSync(record), Buffer.alloc(3000, 1)]) {
      fs.writeFileSync(record, content);
      assert.equal(scene.refuses("SIDECAR").copy, scene[side]);
      assert.ok(fs.readFileSync(record).equals(content));
    }
    fs.writeFileSync(record, good);
    scene.life((db) => db.put());
  }
});

// Several replicas: one refusal refuses all, before any of them is changed.

test("one replica that is refused keeps the others from being changed", (t) => {
  const scene = Scene.make(t, { replicas: 3 });
  scene.life((db) => db.put(3));
  scene.life((db) => db.put(3), { replicas: [1] });
  elsewhere(scene.replicas[2] as string, [INSERT]);
  scene.refuses("DIVERGED"); // the second one is behind, and stays so
  assert.ok(!scene.events(scene.replicas[1] as string).includes("re-synchronised"));
  fs.rmSync(scene.replicas[1] as string);
  scene.refuses("DIVERGED");
  assert.ok(!fs.existsSync(scene.replicas[1] as string), "nor is a missing one made");
});

test("a log that lost what its file holds already: SQLite would lay old pages over new ones", (t) => {
  for (const side of ["primary", "replica"] as const) {
    const scene = Scene.make(t);
    const db = scene.open({ checkpointBytes: 65536 });
    db.put(3);
    const size = logEnd(scene.primary);
    while (!db.happened.includes("checkpoint")) db.put(1, 8000);
    const image = scene.crashImage();
    fs.truncateSync(`${image[side]}-wal`, size);
    const { message } = image.refuses("DIVERGED");
    assert.match(message, /its log has lost frames that its file already holds/);
    fs.rmSync(`${image[side]}-wal`); // without that log the file is what it was
    image.life((again) => again.put());
    db.close();
  }
});
