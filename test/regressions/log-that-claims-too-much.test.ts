/**
 * A log, all its sums right, whose last commit claims a database of 2 TiB: a restore began to write
 * that, a comparison went through pages that are not there. SQLite folds no such log.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { frameOffset } from "../../src/wal/format.ts";
import { withImage } from "../../src/wal/image.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";
import { place, resum, someTransactions, writeLog } from "../support/logs.ts";

test("it is refused, as SQLite does", (t) => {
  const { file, log, pageSize } = writeLog(scratch(t), 512, someTransactions(5));
  const frames = (log.length - 32) / (pageSize + 24);
  const claims = (pages: number): string => {
    log.writeUInt32BE(pages, frameOffset(frames, pageSize) + 4);
    return place(scratch(t), { file, log: resum(log, false) });
  };
  const honest = log.readUInt32BE(frameOffset(frames, pageSize) + 4);
  assert.equal(
    withImage(claims(honest), ({ pages }) => pages),
    honest,
  );
  const name = claims(0xffffffff);
  assert.equal(scanLog(`${name}-wal`)?.commits.at(-1)?.pages, 0xffffffff);
  assert.throws(() => withImage(name, () => {}), { code: "ERR_LOCKSTEP_VERIFY", copy: name });
  const db = new DatabaseSync(name);
  db.prepare("SELECT count(*) FROM sqlite_schema").get();
  assert.throws(() => db.prepare("PRAGMA wal_checkpoint").get(), /malformed/);
  assert.ok(fs.statSync(name).size < 1 << 20);
  db.close();
});
