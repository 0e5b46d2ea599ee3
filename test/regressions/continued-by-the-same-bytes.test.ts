/**
 * A power cut left two transactions in the logs, and of the first not all: a start found neither. The application
 * committed the first once more, with the same bytes, and at the next start the second was there, too.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { frameOffset } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { readAtRest } from "../support/files.ts";
import { Scene } from "../support/scene.ts";

const FIRST = "INSERT INTO t VALUES(1, 'the first')";
const SECOND = "INSERT INTO t VALUES(2, 'the second')";

/** A page of the last transaction but one is not as it was written. */
function tear(copy: string): void {
  const scan = scanLog(`${copy}-wal`);
  assert.ok(scan);
  const { commits, header } = scan;
  const frame = commits.at(-2)?.frame as number;
  assert.equal(commits.at(-3)?.frame, frame - 1, "it is one frame");
  const log = fs.openSync(`${copy}-wal`, "r+");
  fs.writeSync(log, Buffer.alloc(512), 0, 512, frameOffset(frame, header.pageSize) + 24);
  fs.closeSync(log);
}

for (const torn of ["both", "primary", "replica"] as const) {
  test(`a log does not go on where it was torn: ${torn}`, (t) => {
    const before = Scene.make(t);
    const db = before.open();
    db.exec("CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)");
    db.exec(FIRST);
    db.exec(SECOND);
    const scene = before.crashImage();
    db.close();

    // With one of the copies sound the other is brought along, whatever lies in its log.
    for (const copy of [scene.primary, scene.replica]) tear(copy);
    if (torn === "primary") fs.truncateSync(`${scene.replica}-wal`, sizeOfFirst(scene.replica));
    if (torn === "replica") fs.truncateSync(`${scene.primary}-wal`, sizeOfFirst(scene.primary));

    const again = scene.open();
    assert.deepEqual(again.all("SELECT n FROM t"), []);
    again.exec(FIRST);
    const left = scene.crashImage();
    again.close();
    left.acknowledged.set(1, "the first".length);
    left.life();
    for (const copy of left.copies) {
      const rows = readAtRest(copy, (closed) => closed.prepare("SELECT n FROM t").all());
      assert.deepEqual(
        rows.map(({ n }) => n),
        [1],
      );
    }
  });
}

/** Up to what is sound of a log. */
function sizeOfFirst(copy: string): number {
  const scan = scanLog(`${copy}-wal`);
  assert.ok(scan);
  return frameOffset((scan.commits.at(-1)?.frame as number) + 1, scan.header.pageSize);
}
