/** How far a log is valid: logs that SQLite wrote, damaged in each way a log can be. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { decodeWalHeader, frameOffset, frameSize } from "../../src/wal/format.ts";
import { type LogScan, scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";
import {
  damaged,
  PAGE_SIZES,
  place,
  resum,
  rowsSeenBySqlite,
  someTransactions,
  type Written,
  writeLog,
} from "../support/logs.ts";
import { elsewhere, Program } from "../support/program.ts";

function scanBytes(t: TestContext, log: Buffer): LogScan | null {
  const file = path.join(scratch(t), "scanned-wal");
  fs.writeFileSync(file, log);
  return scanLog(file);
}

/** What we find and what SQLite finds are the same transactions: the table, then a row each. */
function assertAsSqliteSees(t: TestContext, written: Written, log: Buffer, commits: number): void {
  const scan = scanBytes(t, log);
  assert.equal(scan?.commits.length ?? 0, commits);
  const rows = rowsSeenBySqlite(scratch(t), { file: written.file, log });
  assert.equal(rows.length, Math.max(0, commits - 1), "rows that SQLite finds");
}

for (const pageSize of PAGE_SIZES) {
  test(`page size ${pageSize}: every commit is found, with its pages and the size after it`, (t) => {
    const written = writeLog(scratch(t), pageSize, someTransactions(9));
    const file = place(scratch(t), written);
    const seen = new Map<number, number>(); // page -> newest frame
    const scan = scanLog(`${file}-wal`, (commit, pages) => {
      assert.ok([...pages.values()].every((frame) => frame <= commit.frame));
      for (const [page, frame] of pages) seen.set(page, frame);
    });
    const commits = scan?.commits ?? [];
    assert.equal(commits.length, 10);
    const last = commits.at(-1);
    assert.equal(frameOffset((last?.frame ?? 0) + 1, pageSize), written.log.length);
    // Replaying the newest frame of each page by hand gives the file that SQLite's checkpoint makes.
    const image = Buffer.alloc((last?.pages ?? 0) * pageSize);
    written.file.copy(image);
    for (const [page, frame] of seen) {
      const at = frameOffset(frame, pageSize) + 24;
      written.log.copy(image, (page - 1) * pageSize, at, at + pageSize);
    }
    const db = new DatabaseSync(file);
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    db.close();
    assert.ok(fs.readFileSync(file).equals(image));
  });
}

test("a log that is missing, empty, short or without a valid header is no log", (t) => {
  const { log } = writeLog(scratch(t), 4096, someTransactions(1));
  assert.equal(scanLog(path.join(scratch(t), "missing")), null);
  assert.equal(scanBytes(t, Buffer.alloc(0)), null);
  assert.equal(scanBytes(t, log.subarray(0, 31)), null);
  assert.equal(scanBytes(t, damaged(log, 17)), null);
  assert.deepEqual(scanBytes(t, log.subarray(0, 32))?.commits, []);
  assert.throws(() => scanLog(scratch(t)), { code: "EISDIR" });
});

test("one damaged field ends the log before its frame, for SQLite and for us", (t) => {
  const written = writeLog(scratch(t), 1024, someTransactions(6));
  const { log, pageSize } = written;
  const commits = scanBytes(t, log)?.commits ?? [];
  assert.equal(commits.length, 7);
  const [, , third, fourth] = commits;
  const first = frameOffset((third?.frame ?? 0) + 1, pageSize); // of the fourth transaction
  const last = frameOffset(fourth?.frame ?? 0, pageSize);
  for (const at of [0, 3, 8, 12, 16, 20, 24, 24 + pageSize - 1]) {
    assertAsSqliteSees(t, written, damaged(log, first + at), 3);
    assertAsSqliteSees(t, written, damaged(log, last + at), 3);
  }
  assertAsSqliteSees(t, written, damaged(log, last + 7), 3); // the commit mark
});

test("a frame of page 0 ends the log though its checksum is right", (t) => {
  const written = writeLog(scratch(t), 1024, someTransactions(4));
  const { log, pageSize } = written;
  const [, second] = scanBytes(t, log)?.commits ?? [];
  const zero = Buffer.from(log);
  zero.writeUInt32BE(0, frameOffset((second?.frame ?? 0) + 1, pageSize));
  assertAsSqliteSees(t, written, resum(zero, false), 2);
});

test("a frame under other salts ends the log though its checksum is right", (t) => {
  const written = writeLog(scratch(t), 1024, someTransactions(4));
  const { log, pageSize } = written;
  const [, second] = scanBytes(t, log)?.commits ?? [];
  const at = frameOffset((second?.frame ?? 0) + 1, pageSize);
  for (const salt of [8, 12]) {
    const other = Buffer.from(log);
    other.writeUInt32BE(log.readUInt32BE(at + salt) + 1, at + salt);
    assertAsSqliteSees(t, written, other, 2); // the sums do not cover the salts
  }
});

test("a torn tail costs the transaction it belongs to, wherever it is torn", (t) => {
  const written = writeLog(scratch(t), 512, someTransactions(3));
  const { log, pageSize } = written;
  const commits = scanBytes(t, log)?.commits ?? [];
  const ends = commits.map(({ frame }) => frameOffset(frame + 1, pageSize));
  const cuts = ends.flatMap((end) => [end - frameSize(pageSize), end - 1, end, end + 1, end + 24]);
  for (const cut of cuts.filter((at) => at <= log.length)) {
    const whole = ends.filter((end) => end <= cut).length;
    assertAsSqliteSees(t, written, log.subarray(0, cut), whole);
    const other = 0xff - (log[cut] ?? 0); // or the first of it might be what was torn off
    const garbage = Buffer.concat([log.subarray(0, cut), Buffer.alloc(2000, other)]);
    assertAsSqliteSees(t, written, garbage, whole);
  }
});

test("big-endian checksums are read as well as little-endian ones", (t) => {
  for (const pageSize of [512, 4096, 65536]) {
    const written = writeLog(scratch(t), pageSize, someTransactions(5));
    const big = resum(written.log, true);
    assertAsSqliteSees(t, written, big, 6);
    assertAsSqliteSees(t, written, damaged(big, big.length - 1), 5);
  }
});

test("a restart leaves older frames behind the end; they are not of this log", (t) => {
  const directory = scratch(t);
  const db = new DatabaseSync(path.join(directory, "a.db"));
  db.exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
  for (const sql of someTransactions(20)) db.exec(sql);
  const before = scanLog(path.join(directory, "a.db-wal"));
  db.exec("PRAGMA wal_checkpoint(RESTART)");
  db.exec("INSERT INTO t VALUES(100, 'a')");
  const length = fs.statSync(path.join(directory, "a.db-wal")).size;
  const after = scanLog(path.join(directory, "a.db-wal"));
  assert.equal(after?.commits.length, 1);
  assert.equal(after?.header.checkpoint, (before?.header.checkpoint ?? 0) + 1);
  assert.equal(after?.header.salt1, ((before?.header.salt1 ?? 0) + 1) >>> 0);
  assert.ok(
    length > frameOffset((after?.commits[0]?.frame ?? 0) + 1, 4096),
    "the file keeps its length",
  );
  db.close();
});

test("frames that a transaction spilled before it ended are valid and not committed", async (t) => {
  const directory = scratch(t);
  const file = path.join(directory, "a.db");
  elsewhere(file, ["PRAGMA journal_mode=WAL", "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)"]);
  const program = new Program(t, file);
  await program.sql("PRAGMA wal_autocheckpoint=0");
  await program.sql("PRAGMA cache_size=5");
  await program.sql("INSERT INTO t VALUES(1, 'a')");
  await program.sql(
    "BEGIN; WITH RECURSIVE c(n) AS (SELECT 2 UNION ALL SELECT n+1 FROM c WHERE n<500) " +
      "INSERT INTO t SELECT n, randomblob(3000) FROM c",
  );
  const spilled = fs.readFileSync(`${file}-wal`);
  const scan = scanBytes(t, spilled);
  assert.equal(scan?.commits.length, 1);
  const end = frameOffset((scan?.commits[0]?.frame ?? 0) + 1, 4096);
  assert.ok(spilled.length > end + 100 * frameSize(4096), "many frames were spilled");
  await program.kill();
  assert.equal(scanLog(`${file}-wal`)?.commits.length, 1, "nor are they after a kill");
  // The next writer overwrites them in place, in the same generation.
  elsewhere(file, ["PRAGMA wal_autocheckpoint=0", "INSERT INTO t VALUES(2, 'b')"], {
    killed: true,
  });
  const again = scanLog(`${file}-wal`);
  assert.deepEqual(again?.header, decodeWalHeader(spilled));
  assert.equal(again?.commits.length, 2);
});
