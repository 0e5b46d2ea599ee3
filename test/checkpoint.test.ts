/** Checkpoints: when the log restarts, who may put that off, and what other programs can do to it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import type { DriverName } from "../src/driver.ts";
import { decodeWalHeader } from "../src/wal/format.ts";
import { Program, visitors } from "./support/program.ts";
import { type Db, Scene } from "./support/scene.ts";

const DRIVERS: readonly DriverName[] = ["node:sqlite", "better-sqlite3"];
const SMALL = { checkpointBytes: 65536 };

/** The generation in a copy's log. */
function saltsOf(copy: string): string {
  const header = decodeWalHeader(fs.readFileSync(`${copy}-wal`).subarray(0, 32));
  return `${header?.salt1} ${header?.salt2}`;
}

function count(db: Db, event: string): number {
  return db.happened.filter((each) => each === event).length;
}

for (const driver of DRIVERS) {
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
      assert.ok(fs.statSync(`${copy}-wal`).size < 200_000, "the log does not grow on");
    }
    db.close();
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
    for (const copy of scene.copies) await visitors(t, copy);
    while (count(db, "checkpoint") < 10 && db.happened.length < 60) db.put(1, 30_000);
    assert.ok(count(db, "checkpoint") > 0);
    db.abandon(); // a log may be left where a reader was in the way: no comparison of files
    assert.deepEqual(
      db.happened.filter((event) => event.startsWith("ERR")),
      [],
    );
  });
}
