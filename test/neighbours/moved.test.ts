/**
 * A file manager, or a script that tidies up: renames, removes and replaces what belongs to a copy,
 * while it is in use and in between. What other programs do to its log and file in use is in
 * test/faults/other-program.test.ts.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { sync } from "../../src/sync.ts";
import { scratch } from "../scratch.ts";
import { copyDirectory } from "../support/files.ts";
import { type Db, Scene } from "../support/scene.ts";

const place = (scene: Scene, side: "primary" | "replica"): string => path.dirname(scene[side]);

/** As a file manager replaces a file: with a copy of it, under its name. */
function replace(file: string): void {
  fs.copyFileSync(file, `${file}-copy`);
  fs.renameSync(`${file}-copy`, file);
}

/** The next commits are refused with this code; a row of them may be there or not. */
function refused(db: Db, code: string): void {
  assert.throws(
    () => {
      for (let i = 0; i < 20; i++) db.exec(`INSERT INTO t VALUES(${500_000 + i}, zeroblob(10000))`);
    },
    { code: `ERR_LOCKSTEP_${code}` },
  );
  db.abandon();
}

describe("in use", { concurrency: 2 }, () => {
  for (const what of ["app.db", "app.db-wal", "."] as const) {
    test(`the replica's ${what} is renamed, and back: REPLICA_GONE, then the start brings them together`, (t) => {
      const scene = Scene.make(t);
      const db = scene.open();
      db.put(3);
      const file = path.join(place(scene, "replica"), what);
      fs.renameSync(file, `${path.resolve(file)}-away`);
      refused(db, "REPLICA_GONE");
      fs.rmSync(file, { force: true, recursive: true });
      fs.renameSync(`${path.resolve(file)}-away`, file);
      scene.life((later) => later.exec("INSERT INTO t VALUES(600000, 'later')"));
    });
  }

  test("the replica's log is replaced by a copy of itself: REPLICA_GONE", (t) => {
    const scene = Scene.make(t);
    const db = scene.open();
    db.put(3);
    replace(`${scene.replica}-wal`);
    refused(db, "REPLICA_GONE");
    scene.life((later) => later.exec("INSERT INTO t VALUES(600000, 'later')"));
  });

  for (const side of ["primary", "replica"] as const) {
    for (const how of ["renamed", "removed", "replaced"] as const) {
      test(`the record beside the ${side} is ${how}: SIDECAR at the next checkpoint`, async (t) => {
        const scene = Scene.make(t);
        const db = scene.open({ checkpointBytes: 40_000 });
        db.put(3);
        const record = `${scene[side]}-lockstep`;
        if (how === "replaced") replace(record);
        else if (how === "removed") fs.rmSync(record);
        else fs.renameSync(record, path.join(scratch(t), "away"));
        refused(db, "SIDECAR");
        // The commit that was refused is in the primary only, and no record proves the rest.
        if (how !== "replaced") scene.refuses("REPLICA_UNKNOWN");
        await sync(scene.primary, scene.replica, { from: "primary" });
        scene.life((later) => later.exec("INSERT INTO t VALUES(600000, 'later')"));
      });
    }
  }
});

describe("between two openings", { concurrency: 2 }, () => {
  test("the replica's directory is renamed, its path with it: in step", (t) => {
    const scene = Scene.make(t);
    scene.life((db) => db.put(3));
    const moved = `${place(scene, "replica")}-moved`;
    fs.renameSync(place(scene, "replica"), moved);
    const replicas = [path.join(moved, "app.db")];
    scene.life((db) => db.assertNothingCopied(), { replicas });
  });

  test("the replica's file is renamed: a new one is made, the old one stays", (t) => {
    const scene = Scene.make(t);
    scene.life((db) => db.put(3));
    const elsewhere = path.join(scratch(t), "renamed.db");
    fs.renameSync(scene.replica, elsewhere);
    scene.life((db) => {
      assert.deepEqual(db.phases(), ["copy"]);
      db.put(1);
    });
    assert.ok(fs.existsSync(elsewhere));
  });

  for (const side of ["primary", "replica"] as const) {
    test(`the record beside the ${side} is removed: the pages are compared, and equal`, (t) => {
      const scene = Scene.make(t);
      scene.life((db) => db.put(3));
      fs.rmSync(`${scene[side]}-lockstep`);
      scene.life((db) => {
        assert.ok(db.phases().includes("compare"));
        db.put(1);
      });
    });

    test(`the ${side}'s file is an older copy of itself: refused, and settled from the other`, async (t) => {
      const scene = Scene.make(t);
      scene.life((db) => db.put(3));
      const older = path.join(scratch(t), "older");
      copyDirectory(scene[side], older);
      scene.life((db) => db.put(2));
      fs.copyFileSync(older, scene[side]);
      scene.refuses("DIVERGED");
      const from = side === "primary" ? "replica" : "primary";
      await sync(scene.primary, scene.replica, { from });
      scene.life((db) => db.put(1));
    });

    test(`an old log is put beside the ${side}: it is not taken for its own`, async (t) => {
      const scene = Scene.make(t);
      const db = scene.open();
      db.put(3, 3000);
      const log = path.join(scratch(t), "log");
      fs.copyFileSync(`${scene[side]}-wal`, log);
      db.close();
      scene.life((later) => later.put(2));
      fs.copyFileSync(log, `${scene[side]}-wal`);
      scene.refuses("DIVERGED");
      const from = side === "primary" ? "replica" : "primary";
      await sync(scene.primary, scene.replica, { from });
      scene.life((later) => later.put(1));
    });
  }
});
