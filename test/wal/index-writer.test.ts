/** The wal-index that is appended to by hand, against the one that SQLite keeps or rebuilds. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import type { Commit } from "../../src/wal/chain.ts";
import { decodeWalHeader, type WalHeader } from "../../src/wal/format.ts";
import { IndexWriter } from "../../src/wal/index-writer.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { SharedIndex } from "../../src/wal/shared-index.ts";
import { scratch } from "../scratch.ts";
import { DRIVERS } from "../support/drivers.ts";
import { PAGE_SIZES, resum, someTransactions, writeLog } from "../support/logs.ts";
import { Program } from "../support/program.ts";
import { differenceOf, shownBy, Twins, watch } from "../support/twins.ts";

const SHELL = "/usr/bin/sqlite3";
const ALL = "SELECT count(*) AS n, coalesce(sum(length(data)), 0) AS bytes FROM t";

const insert = (bytes: number): string => `INSERT INTO t(data) VALUES(randomblob(${bytes}))`;

/** Up to `frames` before a block's end in one transaction, then past the end in small ones. */
function* acrossBorder(twins: Twins, border: number): Generator<string> {
  yield insert((border - 30 - twins.end.frame) * 490);
  for (let i = 0; twins.end.frame < border + 8; i++) yield insert(((i * 7) % 5) * 450);
}

const BORDERS = [4062, 4062 + 4096, 4062 + 2 * 4096, 4062 + 3 * 4096];

for (const driver of DRIVERS) {
  test(`${driver}: across the borders of blocks the index is SQLite's, byte for byte`, async (t) => {
    const twins = new Twins(t, { driver });
    const other = new Program(t, twins.b, { readOnly: true });
    for (const border of BORDERS) {
      for (const sql of acrossBorder(twins, border)) {
        twins.commitInStep(sql);
        assert.equal(twins.difference(), null);
        const rows = twins.writer.all(ALL);
        assert.deepEqual(
          await other.sql(ALL),
          rows.map((row) => ({ ...row })),
        );
        assert.deepEqual(twins.reader.all(ALL), rows);
      }
      assert.deepEqual(await other.sql("PRAGMA integrity_check"), [{ integrity_check: "ok" }]);
    }
    twins.commitInStep(insert(14_000 * 500)); // over several borders at once
    assert.equal(twins.difference(), null);
    assert.deepEqual(
      await other.sql(ALL),
      twins.writer.all(ALL).map((row) => ({ ...row })),
    );
    if (fs.existsSync(SHELL)) {
      const { stdout } = spawnSync(SHELL, [twins.b, `PRAGMA integrity_check; ${ALL}`]);
      const [row] = twins.writer.all(ALL);
      assert.equal(String(stdout), `ok\n${row?.["n"]}|${row?.["bytes"]}\n`);
    }
    assert.equal(fs.statSync(`${twins.b}-shm`).size % 65536, 0, "two blocks at a time");
    twins.commitInStep(insert(1));
  });

  test(`${driver}: what is backfilled stays known, and the log can restart`, (t) => {
    const twins = new Twins(t, { driver, pageSize: 4096 });
    for (let generation = 0; generation < 4; generation++) {
      for (let i = 0; i < 5; i++) twins.commitInStep(insert(i * 3000));
      assert.ok(twins.fold());
      const folded = twins.end.frame;
      for (let i = 0; i < 5; i++) {
        twins.commitInStep(insert(i * 2000));
        assert.equal(twins.index.backfilled, folded);
        assert.deepEqual(twins.reader.all(ALL), twins.writer.all(ALL));
      }
      assert.equal(twins.difference(), null);
      assert.ok(twins.restart());
      assert.ok(twins.sameFiles());
    }
  });
}

test("a reader that began before keeps what it sees, in this process and in another", async (t) => {
  const twins = new Twins(t, { pageSize: 1024 });
  for (let i = 0; i < 5; i++) twins.commitInStep(insert(4000));
  const other = new Program(t, twins.b);
  const here = new DatabaseSync(twins.b);
  const before = twins.writer.all(ALL).map((row) => ({ ...row }));
  await other.sql("BEGIN");
  assert.deepEqual(await other.sql(ALL), before);
  here.exec("BEGIN");
  assert.deepEqual({ ...here.prepare(ALL).get() }, before[0]);
  for (let i = 0; i < 40; i++) {
    twins.commitInStep(i % 7 === 3 ? "UPDATE t SET data = randomblob(5000)" : insert(i * 200));
    if (i % 10 === 5) assert.ok(!twins.fold(), "the readers are in the way");
    assert.deepEqual(await other.sql(ALL), before);
    assert.deepEqual({ ...here.prepare(ALL).get() }, before[0]);
  }
  assert.deepEqual(await other.sql("PRAGMA integrity_check"), [{ integrity_check: "ok" }]);
  await other.sql("COMMIT");
  here.exec("COMMIT");
  const after = twins.writer.all(ALL).map((row) => ({ ...row }));
  assert.deepEqual(await other.sql(ALL), after);
  assert.deepEqual({ ...here.prepare(ALL).get() }, after[0]);
  here.close();
  assert.equal(twins.difference(), null);
});

test("what a killed writer left beyond the end is removed before anything is appended", async (t) => {
  for (const renewed of [false, true]) {
    for (const appended of [1, 2000]) {
      const twins = new Twins(t);
      for (let i = 0; i < 10; i++) twins.commitInStep(insert(2000));
      const dead = new Program(t, twins.b);
      await dead.sql("PRAGMA cache_size=5");
      await dead.sql(`BEGIN; ${insert(200_000)}`);
      await dead.sql(insert(300_000));
      await dead.kill();
      assert.notEqual(twins.difference(), null, "it left something");
      if (renewed) twins.renew();
      twins.commitInStep(insert(appended * 500));
      assert.equal(twins.difference(), null);
      for (let i = 0; i < 10; i++) twins.commitInStep(insert(i * 500));
      assert.equal(twins.difference(), null);
      assert.deepEqual(twins.reader.all(ALL), twins.writer.all(ALL));
      assert.ok(twins.restart());
      assert.ok(twins.sameFiles());
    }
  }
});

test("after somebody rebuilt the index, the writer goes on from there", (t) => {
  const twins = new Twins(t);
  for (let i = 0; i < 30; i++) {
    twins.commitInStep(insert(i * 300));
    if (i % 3 > 0) continue;
    twins.index.invalidate();
    twins.reader.all(ALL);
    assert.ok(twins.index.read());
    assert.equal(twins.index.change, 0);
  }
  assert.equal(twins.difference(), null);
});

test("an index that is not valid, or shows something else, is left as it is", (t) => {
  const twins = new Twins(t);
  for (let i = 0; i < 3; i++) twins.commitInStep(insert(2000));
  const { end } = twins;
  const header = twins.header as WalHeader;
  const next: Commit = { frame: end.frame + 2, pages: 9, sum1: 1, sum2: 2 };
  const shm = `${twins.b}-shm`;
  const good = fs.readFileSync(shm);
  const refused = (bytes: Buffer, log: WalHeader, before: typeof end, why: string): void => {
    for (const writer of [twins.append, onCopy(t, bytes)]) {
      const at = writer === twins.append ? shm : lastCopy;
      if (at === shm && bytes !== good) continue;
      assert.equal(writer.append(log, before, Array(next.frame).fill(7), next), false, why);
      assert.ok(fs.readFileSync(at).equals(bytes), why);
    }
  };
  refused(good, header, { ...end, frame: end.frame - 1 }, "more frames");
  refused(good, header, { ...end, frame: end.frame + 1 }, "fewer frames");
  refused(good, header, { ...end, frame: 0 }, "frames of a generation");
  refused(good, header, { ...end, sum1: end.sum1 ^ 1 }, "other sums");
  refused(good, header, { ...end, sum2: end.sum2 ^ 1 }, "other sums");
  refused(good, { ...header, salt1: header.salt1 ^ 1 }, end, "other salts");
  refused(good, { ...header, salt2: header.salt2 ^ 1 }, end, "other salts");
  refused(good, { ...header, pageSize: 1024 }, end, "another page size");
  const hurt = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  refused(
    hurt((bytes) => bytes.fill(0, 0, 96)),
    header,
    end,
    "spoilt",
  );
  for (let at = 0; at < 96; at++) {
    refused(
      hurt((bytes) => bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)),
      header,
      end,
      `${at}`,
    );
  }
  const used = good.findIndex((byte, at) => at >= 16384 && byte !== 0);
  refused(
    hurt((bytes) => bytes.fill(0, used & ~1, (used & ~1) + 2)),
    header,
    end,
    "a slot is missing",
  );
  refused(good.subarray(0, 20000), header, end, "no whole block");
  twins.commitInStep(insert(100)); // it was not in vain: the true one is accepted
});

let lastCopy = "";

/** A writer of a file with these bytes. */
function onCopy(t: TestContext, bytes: Buffer): IndexWriter {
  lastCopy = path.join(scratch(t), "shm");
  fs.writeFileSync(lastCopy, bytes);
  const fd = fs.openSync(lastCopy, "r+");
  t.after(() => fs.closeSync(fd));
  return new IndexWriter(fd);
}

for (const bigEndian of [false, true]) {
  test(`all page sizes, ${bigEndian ? "big" : "little"}-endian sums: as SQLite rebuilds it`, (t) => {
    for (const pageSize of PAGE_SIZES) {
      const written = writeLog(scratch(t), pageSize, someTransactions(12));
      const log = resum(written.log, bigEndian);
      const directory = scratch(t);
      const file = path.join(directory, "b.db");
      fs.writeFileSync(file, written.file);
      fs.writeFileSync(`${directory}/whole-wal`, log);
      const pages: number[][] = [];
      const scan = scanLog(`${directory}/whole-wal`);
      const size = pageSize + 24;
      let from = 0;
      for (const { frame } of scan?.commits ?? []) {
        pages.push([]);
        for (; from < frame; from++) pages.at(-1)?.push(log.readUInt32BE(32 + from * size));
      }
      const reader = new DatabaseSync(file);
      reader.prepare("SELECT count(*) FROM sqlite_schema").get();
      const fd = fs.openSync(`${file}-shm`, "r+");
      const [index, writer] = [new SharedIndex(fd), new IndexWriter(fd)];
      const header = decodeWalHeader(log) as WalHeader;
      let before = { frame: 0, sum1: header.sum1, sum2: header.sum2 };
      for (const [i, commit] of (scan?.commits ?? []).entries()) {
        fs.writeFileSync(`${file}-wal`, log.subarray(0, 32 + commit.frame * size));
        assert.ok(writer.append(header, before, pages[i] as number[], commit));
        before = commit;
        const found = reader.prepare("SELECT count(*) AS n FROM sqlite_schema").get();
        assert.equal(found?.["n"], 1);
      }
      assert.ok(index.read() && index.change > 0, "it was not rebuilt");
      assert.equal(index.pageSize, pageSize);
      const ours = shownBy(file, before.frame);
      index.invalidate();
      assert.equal(reader.prepare("SELECT count(*) AS n FROM t").get()?.["n"], 12);
      assert.ok(index.read());
      assert.equal(differenceOf(shownBy(file, before.frame), ours), null);
      reader.close();
    }
  });
}

test("two processes: one appends, the other reads, and never sees half a transaction", async (t) => {
  const twins = new Twins(t, { pageSize: 1024 });
  twins.commitInStep(
    "CREATE TABLE pairs AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 200) " +
      "SELECT n, 0 AS value, 0 AS step, randomblob(300) AS filler FROM c",
  );
  const watcher = await watch(t, twins.b);
  const until = performance.now() + 2000;
  let step = 0;
  let restarts = 0;
  let rebuilt = 0;
  while (performance.now() < until) {
    step++;
    const [from, to] = [1 + ((step * 37) % 200), 1 + ((step * 101 + 7) % 200)];
    const by = step % 1000;
    const ok = twins.commit(
      `UPDATE pairs SET step = ${step}, value = value + CASE n WHEN ${from} THEN ${by} ELSE 0 END ` +
        `- CASE n WHEN ${to} THEN ${by} ELSE 0 END WHERE n IN (${from}, ${to})`,
    );
    if (!ok) {
      rebuilt++; // by the other one, while a generation began
      twins.index.invalidate();
      twins.reader.all(ALL);
    }
    if (step % 50 === 25) twins.fold();
    for (let i = 0; step % 40 === 0 && i < 5; i++) {
      if (!twins.restart()) continue;
      restarts++;
      break;
    }
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  const { reads, wrong, last } = await watcher.stop();
  t.diagnostic(`${step} commits, ${reads} reads, ${restarts} restarts, rebuilt ${rebuilt} times`);
  assert.deepEqual(wrong, []);
  assert.ok(reads > 100 && step > 100 && restarts > 0);
  assert.ok(rebuilt <= restarts, `rebuilt ${rebuilt} times`);
  assert.equal(last, step);
});

test("canary: one wrong slot or page number is a difference", (t) => {
  const twins = new Twins(t);
  for (let i = 0; i < 5; i++) twins.commitInStep(insert(2000));
  assert.equal(twins.difference(), null);
  const good = fs.readFileSync(`${twins.b}-shm`);
  const used = good.findIndex((byte, at) => at >= 16384 && byte !== 0);
  for (const at of [136, 136 + 4 * twins.end.frame - 1, used, 16, 20, 24, 32]) {
    const bytes = Buffer.from(good);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 2, at);
    if (at < 48) bytes.copy(bytes, 48, 0, 48);
    fs.writeFileSync(path.join(path.dirname(twins.b), "hurt-shm"), bytes);
    const hurt = shownBy(path.join(path.dirname(twins.b), "hurt"), twins.end.frame);
    assert.notEqual(differenceOf(shownBy(twins.a, twins.end.frame), hurt), null, `byte ${at}`);
  }
});
