/** A delta is a log of our own making: SQLite replays it, and the target is the source. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { writeDelta } from "../../src/lineage/delta.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";
import { runSql } from "../support/files.ts";
import { PAGE_SIZES } from "../support/logs.ts";

const SALTS = { salt1: 0xfedcba98, salt2: 1 };
const FILL =
  "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<300) " +
  "INSERT INTO t SELECT n, randomblob(n * 7) FROM c";

interface Two {
  readonly from: string;
  readonly to: string;
}

/** `to` is where both began; `from` has gone on. Both are in WAL mode and closed. */
function diverging(t: TestContext, pageSize: number, before: string, after: string): Two {
  const directory = scratch(t);
  const [from, to] = ["from.db", "to.db"].map((name) => path.join(directory, name)) as [
    string,
    string,
  ];
  const setup = `PRAGMA page_size=${pageSize}; PRAGMA auto_vacuum=FULL; PRAGMA journal_mode=WAL`;
  runSql(to, setup, "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)", before);
  fs.copyFileSync(to, from);
  runSql(from, after);
  return { from, to };
}

function delta({ from, to }: Two): ReturnType<typeof writeDelta> {
  return writeDelta(from, to, `${to}-wal`, SALTS, () => {});
}

/** SQLite replays the log; then the files are equal. */
function assertReplayed({ from, to }: Two): void {
  const db = new DatabaseSync(to);
  assert.deepEqual({ ...db.prepare("PRAGMA integrity_check").get() }, { integrity_check: "ok" });
  db.close();
  assert.ok(fs.readFileSync(to).equals(fs.readFileSync(from)));
  assert.ok(!fs.existsSync(`${to}-wal`));
}

for (const pageSize of PAGE_SIZES) {
  test(`page size ${pageSize}: growing, changing, shrinking`, (t) => {
    for (const [before, after] of [
      ["SELECT 1", FILL],
      [FILL, "UPDATE t SET data = randomblob(20) WHERE n % 50 = 0"],
      [FILL, "DELETE FROM t WHERE n > 10"],
    ] as const) {
      const two = diverging(t, pageSize, before, after);
      const { differing } = delta(two);
      assert.ok(differing > 0);
      assert.equal(scanLog(`${two.to}-wal`)?.commits.length, 1, "one transaction");
      assertReplayed(two);
    }
  });
}

test("with nothing different no log is made", (t) => {
  const two = diverging(t, 4096, FILL, "SELECT 1");
  assert.equal(delta(two).differing, 0);
  assert.ok(!fs.existsSync(`${two.to}-wal`));
});

test("a target that only is longer is cut", (t) => {
  const two = diverging(t, 4096, FILL, "SELECT 1");
  fs.appendFileSync(two.to, Buffer.alloc(3 * 4096));
  assert.equal(delta(two).differing, 1);
  assertReplayed(two);
});

test("only pages that differ are written", (t) => {
  const two = diverging(t, 4096, FILL, "UPDATE t SET data = data || x'00' WHERE n = 150");
  assert.ok(delta(two).differing <= 3);
  assertReplayed(two);
});

test("cut off anywhere, the target is what it was; whole, it is the source", (t) => {
  const two = diverging(t, 512, FILL, "DELETE FROM t WHERE n % 3 = 0");
  delta(two);
  const log = fs.readFileSync(`${two.to}-wal`);
  const old = fs.readFileSync(two.to);
  const cuts = Array.from({ length: 20 }, (_, i) => Math.floor((log.length * i) / 20));
  for (const cut of [...cuts, log.length - 1]) {
    fs.writeFileSync(two.to, old);
    fs.writeFileSync(`${two.to}-wal`, log.subarray(0, cut));
    runSql(two.to, "SELECT count(*) FROM t");
    assert.ok(fs.readFileSync(two.to).equals(old), `cut at ${cut}`);
  }
  fs.writeFileSync(`${two.to}-wal`, log);
  assertReplayed(two);
});

test("the log has the mode of the file it belongs to", (t) => {
  const two = diverging(t, 4096, "SELECT 1", FILL);
  fs.chmodSync(two.to, 0o600);
  delta(two);
  assert.equal(fs.statSync(`${two.to}-wal`).mode & 0o777, 0o600);
});

test("a log that stands there already is not overwritten", (t) => {
  const two = diverging(t, 4096, "SELECT 1", FILL);
  fs.writeFileSync(`${two.to}-wal`, "mine");
  assert.throws(() => delta(two), { code: "EEXIST" });
  assert.equal(fs.readFileSync(`${two.to}-wal`, "utf8"), "mine");
});
