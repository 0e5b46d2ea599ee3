/** What readers of a replica are shown, and that they find its wal-index right and need not rebuild it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { DriverName } from "../src/driver.ts";
import { SharedIndex } from "../src/wal/shared-index.ts";
import { Program } from "./support/program.ts";
import { Scene } from "./support/scene.ts";
import { differenceOf, shownBy } from "./support/twins.ts";

const DRIVERS: readonly DriverName[] = ["node:sqlite", "better-sqlite3"];

/** The descriptor is left open: closing it would drop SQLite's locks. */
const indexOf = (copy: string): SharedIndex => new SharedIndex(fs.openSync(`${copy}-shm`, "r+"));

/** The primary's index is SQLite's own. */
function assertSame(scene: Scene): SharedIndex {
  const [primary, replica] = [indexOf(scene.primary), indexOf(scene.replica)];
  assert.ok(primary.read());
  assert.ok(replica.read(), "the replica's index is valid");
  const { frames } = primary;
  assert.equal(replica.frames, frames);
  assert.equal(differenceOf(shownBy(scene.primary, frames), shownBy(scene.replica, frames)), null);
  return replica;
}

for (const driver of DRIVERS) {
  test(`${driver}: after every commit the replica's index is the primary's`, (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open({ checkpointBytes: 400_000 });
    let last = { salt1: 0, change: 0 };
    let rebuilt = 0;
    for (let i = 0; i < 120; i++) {
      db.put(1, 1 + (i % 9) * 1500);
      const { salt1, change } = assertSame(scene);
      if (salt1 === last.salt1 && change !== last.change + 1) rebuilt++;
      last = { salt1, change };
    }
    db.put(1, 25 << 20); // in pieces, over borders of the index's blocks
    assertSame(scene);
    db.put(3, 10);
    assertSame(scene);
    assert.equal(rebuilt, 0);
    assert.ok(db.happened.includes("checkpoint"), "and over generations");
    db.close();
  });

  test(`${driver}: a start into a log that stands, and an index that somebody spoilt`, async (t) => {
    const scene = Scene.make(t, { driver });
    const first = scene.open();
    first.put(5, 3000);
    const reader = new Program(t, scene.replica, { readOnly: true });
    await reader.sql("SELECT count(*) FROM t");
    await reader.sql("BEGIN");
    await reader.sql("SELECT count(*) FROM t");
    first.put(2, 3000);
    first.abandon();
    const db = scene.open();
    const index = indexOf(scene.replica);
    assert.ok(index.read(), "nobody but the reader used it in between");
    db.put(1, 3000);
    await reader.sql("COMMIT");
    for (let i = 0; i < 3; i++) {
      index.invalidate();
      db.put(1, 3000);
      assert.ok(index.read(), "it is right again after the next commit");
      const [row] = await reader.sql("SELECT count(*) AS n FROM t");
      assert.equal(row?.["n"], scene.acknowledged.size);
    }
    await reader.end();
    db.close();
  });
}

test("what another program folded of a replica stays known over commits", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(5, 3000);
  const other = new DatabaseSync(scene.replica);
  other.prepare("PRAGMA wal_checkpoint(PASSIVE)").all();
  const index = indexOf(scene.replica);
  assert.ok(index.read());
  const { frames, backfilled } = index;
  assert.ok(backfilled > 0);
  for (let i = 0; i < 5; i++) {
    db.put(1, 3000);
    assert.ok(index.read());
    assert.ok(index.frames > frames);
    assert.equal(index.backfilled, backfilled);
    assert.equal(
      other.prepare("SELECT count(*) AS n FROM t").get()?.["n"],
      scene.acknowledged.size,
    );
  }
  other.close();
  db.close();
});
