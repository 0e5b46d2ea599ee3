/**
 * Copies after a crash whose files prove nothing by themselves, because they were moved to another
 * disk or a power cut took their times back. The logs agree, so the images at the shorter one's end
 * decide.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { type TestContext, test } from "node:test";
import { scanLog } from "../../src/wal/scan.ts";
import { Scene } from "../support/scene.ts";

/** After a crash in mid-commit: rows in file and log, and one the replica does not have. */
function crashed(t: TestContext): Scene {
  const scene = Scene.make(t);
  scene.life((db) => db.put(50, 1000));
  const db = scene.open();
  db.put(20, 1000);
  db.native.exec("INSERT INTO t VALUES(1000, x'00')"); // past the gate: nobody was told
  const image = scene.crashImage();
  db.close();
  for (const copy of image.copies) fs.utimesSync(copy, 1, 1);
  return image;
}

test("the primary is ahead: the images are equal where the replica's log ends, the rest is sent", (t) => {
  const scene = crashed(t);
  const db = scene.open();
  assert.ok(db.progress.some(({ phase }) => phase === "compare"));
  assert.deepEqual(
    db.all("SELECT count(*) AS n FROM t WHERE n = 1000").map((row) => row["n"]),
    [1],
  );
  db.close();
});

test("the replica is ahead: the primary is rolled forward", (t) => {
  const scene = crashed(t);
  const log = `${scene.primary}-wal`;
  const commits = scanLog(log)?.commits ?? [];
  const keep = commits.at(-4)?.frame ?? 0;
  fs.truncateSync(log, 32 + keep * (24 + 4096));
  scene.life();
  assert.ok(scene.events(scene.primary).includes("rolled forward"));
});

test("a page beneath the log differs: refused, although the logs agree", (t) => {
  const scene = crashed(t);
  const bytes = fs.readFileSync(scene.replica);
  const inPage5 = 5 * 4096 - 1; // which no frame of the log writes anew
  bytes[inPage5] = (bytes[inPage5] ?? 0) ^ 1;
  fs.writeFileSync(scene.replica, bytes);
  const error = scene.refuses("DIVERGED");
  assert.match(error.what, /1 of \d+ pages differ/);
});
