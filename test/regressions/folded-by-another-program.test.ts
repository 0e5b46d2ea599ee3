/**
 * After a crash another program, which has the primary open, folds its log whole. The start found
 * equal copies; then the first commit restarted the log over a file that no record knew, and the
 * copies were said to have diverged.
 */
import { test } from "node:test";
import { Program } from "../support/program.ts";
import { Scene } from "../support/scene.ts";

test("a log that another program folded after a crash", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const db = scene.open();
  db.put(3);
  const crashed = scene.crashImage();
  db.close();
  const other = new Program(t, crashed.primary);
  await other.sql("SELECT count(*) FROM t");
  await other.sql("PRAGMA wal_checkpoint");
  const again = crashed.open();
  again.put(3);
  again.abandon(); // without the comparison: the other program keeps the log in place
  await other.end();
  crashed.life((later) => later.put());
});
