/** The wal-index's header, read from one that SQLite keeps and from damaged copies of it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { checksum, ZERO_SUMS } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { SharedIndex } from "../../src/wal/shared-index.ts";
import { scratch } from "../scratch.ts";
import { damaged, PAGE_SIZES, someTransactions } from "../support/logs.ts";
import { Program } from "../support/program.ts";

/** The descriptor is left open: closing it would drop SQLite's locks. */
function indexOf(file: string): SharedIndex {
  return new SharedIndex(fs.openSync(`${file}-shm`, "r+"));
}

function readBytes(t: TestContext, bytes: Buffer): boolean {
  const file = path.join(scratch(t), "shm");
  fs.writeFileSync(file, bytes);
  const fd = fs.openSync(file, "r");
  try {
    return new SharedIndex(fd).read();
  } finally {
    fs.closeSync(fd);
  }
}

for (const pageSize of PAGE_SIZES) {
  test(`page size ${pageSize}: it says what the log says, after every commit`, (t) => {
    const file = path.join(scratch(t), "a.db");
    const db = new DatabaseSync(file);
    db.exec(`PRAGMA page_size=${pageSize}; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0`);
    let opened: SharedIndex | null = null;
    for (const sql of someTransactions(5)) {
      db.exec(sql);
      const index: SharedIndex = (opened ??= indexOf(file));
      assert.ok(index.read());
      const { salt1, salt2, sum1, sum2, frames } = index;
      const scan = scanLog(`${file}-wal`);
      const last = scan?.commits.at(-1);
      assert.deepEqual(
        { frame: frames, sum1, sum2 },
        { frame: last?.frame, sum1: last?.sum1, sum2: last?.sum2 },
      );
      assert.deepEqual([salt1, salt2], [scan?.header.salt1, scan?.header.salt2]);
      assert.equal(index.pageSize, pageSize);
    }
    const index = opened as unknown as SharedIndex;
    const { change } = index;
    db.exec("INSERT INTO t VALUES(100, 'a')");
    assert.ok(index.read());
    assert.equal(index.change, change + 1);
    db.close();
  });
}

/** Another version in both copies, under a sum that is right. */
function withVersion(index: Buffer, version: number): Buffer {
  const bytes = Buffer.from(index);
  bytes.writeUInt32LE(version, 0);
  const sums = checksum(bytes, 0, 40, ZERO_SUMS, false);
  bytes.writeUInt32LE(sums.sum1, 40);
  bytes.writeUInt32LE(sums.sum2, 44);
  bytes.copyWithin(48, 0, 48);
  return bytes;
}

test("a header is invalid for each rule alone, and the fields keep their values", (t) => {
  const file = path.join(scratch(t), "a.db");
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode=WAL");
  for (const sql of someTransactions(2)) db.exec(sql);
  const bytes = fs.readFileSync(`${file}-shm`).subarray(0, 136);
  assert.ok(readBytes(t, bytes));
  assert.ok(!readBytes(t, bytes.subarray(0, 95)), "too short");
  assert.ok(!readBytes(t, Buffer.alloc(136)), "zeroes");
  for (let at = 0; at < 96; at++) assert.ok(!readBytes(t, damaged(bytes, at)), `byte ${at}`);
  for (let at = 0; at < 48; at++) {
    const both = damaged(damaged(bytes, at), at + 48);
    assert.ok(!readBytes(t, both), `byte ${at} of both: the sum holds no longer`);
  }
  const other = withVersion(bytes, 3007001);
  assert.ok(!readBytes(t, other), "another version, of which SQLite says that it cannot open it");
  assert.ok(readBytes(t, withVersion(other, 3007000)));
  for (let at = 96; at < 136; at++)
    assert.ok(readBytes(t, damaged(bytes, at)), `byte ${at} is no header`);
  db.close();
});

test("frames appended by hand are seen once the header was made invalid", async (t) => {
  const directory = scratch(t);
  const [written, replica] = ["written", "replica"].map((name) => path.join(directory, name));
  const db = new DatabaseSync(written as string);
  db.exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
  for (const sql of someTransactions(2)) db.exec(sql);
  fs.copyFileSync(written as string, replica as string);
  fs.copyFileSync(`${written}-wal`, `${replica}-wal`);
  const reader = new Program(t, replica as string, { readOnly: true });
  const count = async (): Promise<unknown> =>
    (await reader.sql("SELECT count(*) AS n FROM t"))[0]?.["n"];
  assert.equal(await count(), 2);
  const index = indexOf(replica as string);
  for (let n = 3; n < 8; n++) {
    const length = fs.statSync(`${written}-wal`).size;
    db.exec(`INSERT INTO t VALUES(${n}, randomblob(5000))`);
    const log = fs.readFileSync(`${written}-wal`);
    fs.writeFileSync(`${replica}-wal`, log.subarray(length), { flag: "a" });
    assert.equal(await count(), n - 1, "not before");
    index.invalidate();
    assert.ok(!index.read());
    assert.equal(await count(), n);
    assert.ok(index.read(), "the reader has made it anew");
    assert.deepEqual([index.frames], [scanLog(`${replica}-wal`)?.commits.at(-1)?.frame]);
  }
  db.close();
});
