/** A replica where there is none: the full copy. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { driversOr } from "../support/drivers.ts";
import { assertAtRest, runSql } from "../support/files.ts";
import { PAGE_SIZES } from "../support/logs.ts";
import { elsewhere } from "../support/program.ts";
import { Scene } from "../support/scene.ts";

const FILL =
  "CREATE TABLE old(n INTEGER PRIMARY KEY, data BLOB); INSERT INTO old " +
  "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<400) SELECT n, randomblob(n * 9) FROM c";

for (const driver of driversOr("better-sqlite3")) {
  test(`${driver}: nothing on either side: both begin empty`, (t) => {
    const scene = Scene.make(t, { driver });
    scene.life();
    scene.life((db) => db.put(3));
  });

  test(`${driver}: a database that was never replicated is adopted, with progress`, (t) => {
    const scene = Scene.make(t, { driver });
    runSql(scene.primary, "PRAGMA journal_mode=WAL", FILL);
    const { size } = fs.statSync(scene.primary);
    const { progress } = scene.life((db) => db.put(3));
    assert.deepEqual(
      [...new Set(progress.map(({ phase, path }) => `${phase} ${path}`))],
      [`copy ${scene.replica}`],
    );
    const last = progress.at(-1);
    assert.deepEqual([last?.bytesDone, last?.bytesTotal], [size, size]);
    assert.ok(progress.every((p) => p.bytesPerSecond >= 0 && p.bytesDone <= p.bytesTotal));
    assert.deepEqual(scene.events(scene.replica), ["copied", "closed"]);
    assert.equal(scene.sidecar(scene.replica).state.role, "replica");
    const ids = scene.copies.map((copy) => scene.sidecar(copy).state.databaseId);
    assert.ok(ids[0] && ids[0] === ids[1]);
  });

  test(`${driver}: one in rollback-journal mode is switched to WAL`, (t) => {
    const scene = Scene.make(t, { driver });
    runSql(scene.primary, FILL);
    scene.life((db) => db.put(3));
    assert.equal(fs.readFileSync(scene.primary)[18], 2);
  });
}

test("a hot journal is recovered first", (t) => {
  const scene = Scene.make(t);
  runSql(scene.primary, FILL);
  // A transaction that wrote the file before it was killed.
  elsewhere(
    scene.primary,
    ["PRAGMA cache_size=2", "BEGIN", "UPDATE old SET data = zeroblob(length(data)) WHERE n > 5"],
    { killed: true },
  );
  assert.ok(fs.statSync(`${scene.primary}-journal`).size > 0, "the journal is hot");
  scene.life((db) => {
    assert.equal(
      db.all("SELECT count(*) AS n FROM old WHERE data = zeroblob(length(data))")[0]?.["n"],
      0,
    );
    db.put();
  });
});

test("a log that a killed program left is part of the primary", (t) => {
  const scene = Scene.make(t);
  elsewhere(scene.primary, ["PRAGMA journal_mode=WAL", FILL, "INSERT INTO old VALUES(999, 'x')"], {
    killed: true,
  });
  assert.ok(fs.statSync(`${scene.primary}-wal`).size > 0);
  scene.life((db) => {
    assert.equal(db.all("SELECT count(*) AS n FROM old")[0]?.["n"], 401);
  });
});

for (const [i, pageSize] of PAGE_SIZES.entries()) {
  const modes = pageSize === 4096 ? ["FULL", "INCREMENTAL"] : [i % 2 ? "FULL" : "INCREMENTAL"];
  test(`page size ${pageSize}, auto_vacuum ${modes}, a VACUUM that shrinks the file`, (t) => {
    for (const mode of modes) {
      const scene = Scene.make(t);
      runSql(scene.primary, `PRAGMA page_size=${pageSize}; PRAGMA auto_vacuum=${mode}`, FILL);
      const sizes: number[] = [];
      scene.life((db) => {
        db.put(5, 3 * pageSize);
        db.exec("UPDATE old SET data = randomblob(n * 20)");
        db.exec("DELETE FROM old WHERE n % 3");
        db.exec("PRAGMA incremental_vacuum(10)");
      });
      sizes.push(fs.statSync(scene.replica).size);
      scene.life((db) => {
        db.exec("DELETE FROM old");
        db.exec("VACUUM");
        db.put(2);
      });
      sizes.push(fs.statSync(scene.replica).size);
      assert.ok((sizes[1] as number) < (sizes[0] as number), sizes.join());
      assert.equal(
        fs.readFileSync(scene.replica).readUInt16BE(16),
        pageSize === 65536 ? 1 : pageSize,
      );
    }
  });
}

test("the replica has the primary's mode bits, whatever the umask", (t) => {
  for (const mode of [0o600, 0o640, 0o666]) {
    const scene = Scene.make(t);
    runSql(scene.primary, FILL);
    fs.chmodSync(scene.primary, mode);
    const db = scene.open();
    db.put();
    for (const suffix of ["", "-wal"]) {
      assert.equal(fs.statSync(scene.replica + suffix).mode & 0o777, mode, suffix);
    }
    db.close();
    assert.equal(fs.statSync(scene.replica).mode & 0o777, mode);
  }
});

test("a stale log, journal or index beside a missing replica is never replayed", (t) => {
  const scene = Scene.make(t);
  // Logs of the very same page size, of another database.
  const other = path.join(scene.root, "other.db");
  elsewhere(other, ["PRAGMA journal_mode=WAL", FILL, "UPDATE old SET data='other'"], {
    killed: true,
  });
  for (const suffix of ["-wal", "-shm"]) fs.copyFileSync(other + suffix, scene.replica + suffix);
  const rollback = path.join(scene.root, "rollback.db");
  runSql(rollback, FILL);
  const spill = ["PRAGMA cache_size=2", "BEGIN", "UPDATE old SET data = zeroblob(length(data))"];
  elsewhere(rollback, spill, { killed: true });
  fs.copyFileSync(`${rollback}-journal`, `${scene.replica}-journal`);
  const stale = ["-wal", "-journal"].map((suffix) => fs.readFileSync(scene.replica + suffix));

  runSql(scene.primary, "CREATE TABLE mine(x); INSERT INTO mine VALUES('mine')");
  scene.life((db) => db.put(3));
  const aside = fs
    .readdirSync(path.dirname(scene.replica))
    .filter((name) => /set-aside/.test(name));
  const kept = aside.map((name) => fs.readFileSync(path.join(path.dirname(scene.replica), name)));
  for (const bytes of stale)
    assert.ok(
      kept.some((each) => each.equals(bytes)),
      "kept, not deleted",
    );
});

test("an empty file counts as missing", (t) => {
  const scene = Scene.make(t);
  runSql(scene.primary, FILL);
  fs.writeFileSync(scene.replica, "");
  scene.life((db) => db.put());
});

test("what an earlier copy left half made is made anew", (t) => {
  const scene = Scene.make(t);
  runSql(scene.primary, FILL);
  fs.writeFileSync(`${scene.replica}-lockstep-new`, "half a copy");
  scene.life((db) => db.put());
  assert.ok(!fs.existsSync(`${scene.replica}-lockstep-new`));
});

test("paths through symbolic links name the files they lead to", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const links = [0, 1].map((i) => path.join(scene.root, `link${i}`));
  fs.symlinkSync(scene.replicas[0] as string, links[0] as string); // to a file that is not there yet
  fs.symlinkSync(path.dirname(scene.replicas[1] as string), links[1] as string);
  const replicas = [links[0] as string, path.join(links[1] as string, "app.db")];
  for (let i = 0; i < 2; i++) {
    const db = scene.open({ replicas });
    db.put(2);
    db.abandon();
    assertAtRest(scene.primary, scene.replicas);
    assert.ok(fs.lstatSync(links[0] as string).isSymbolicLink());
  }
});

test("one file under two names is no copy", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  scene.life((db) => db.put());
  const link = path.join(scene.root, "link");
  fs.symlinkSync(scene.primary, link);
  const hard = path.join(scene.root, "hard");
  fs.linkSync(scene.primary, hard);
  const relative = path.relative(process.cwd(), scene.primary);
  for (const name of [
    scene.primary,
    link,
    hard,
    relative,
    path.join(link, "..", "main", "app.db"),
  ]) {
    assert.throws(
      () => scene.open({ replicas: [name] }),
      { code: "ERR_LOCKSTEP_BAD_OPTION" },
      name,
    );
  }
  const { replica } = scene;
  assert.throws(() => scene.open({ replicas: [replica, replica] }), {
    code: "ERR_LOCKSTEP_BAD_OPTION",
  });
  scene.life((db) => db.assertNothingCopied());
});
