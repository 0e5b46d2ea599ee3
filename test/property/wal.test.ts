/**
 * Goal: whatever happens to a log, what is read of it is a beginning of SQLite's history.
 * Method: SQLite writes the log; we damage it; the whole log is the oracle.
 * Replay: SEED=<seed> npx node --test test/property/wal.test.ts
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import type { Commit } from "../../src/wal/chain.ts";
import { frameOffset } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";
import { damaged, resum, rowsSeenBySqlite, type Written, writeLog } from "../support/logs.ts";
import { runs, seed } from "../support/seed.ts";

interface Case extends Written {
  readonly commits: readonly Commit[];
}

/** Logs of several page sizes and shapes, under both checksums. */
function someLogs(t: TestContext): Case[] {
  const directory = scratch(t);
  const shapes = [512, 1024, 4096].map((pageSize, shape) =>
    writeLog(directory, pageSize, [
      "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)",
      ...Array.from(
        { length: 8 },
        (_, i) => `INSERT INTO t VALUES(${i}, zeroblob(${i * 700 * shape}))`,
      ),
      "DELETE FROM t WHERE n % 2",
      "VACUUM",
    ]),
  );
  const big = shapes.map((written) => ({ ...written, log: resum(written.log, true) }));
  return [...shapes, ...big].map((written) => ({ ...written, commits: commitsOf(t, written.log) }));
}

function commitsOf(t: TestContext, log: Buffer): readonly Commit[] {
  let file = scanned.get(t);
  if (!file) scanned.set(t, (file = path.join(scratch(t), "wal")));
  fs.writeFileSync(file, log);
  return scanLog(file)?.commits ?? [];
}

const scanned = new WeakMap<TestContext, string>();

const flip = fc.integer({ min: 1, max: 255 });
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test(`seed ${seed}: one damaged byte costs a suffix of the log, nothing else`, (t) => {
  const logs = someLogs(t);
  const property = fc.property(fc.constantFrom(...logs), fraction, flip, (written, where, bits) => {
    const { log, commits, pageSize } = written;
    const at = Math.floor(where * log.length);
    const survivors = commitsOf(t, damaged(log, at, bits));
    assert.deepEqual(survivors, commits.slice(0, survivors.length));
    // No more than from the damaged transaction on, and no less.
    const before = commits.filter(({ frame }) => frameOffset(frame + 1, pageSize) <= at).length;
    assert.equal(survivors.length, at < 32 ? 0 : before);
  });
  fc.assert(property, { seed, numRuns: runs(300) });
});

test(`seed ${seed}: SQLite draws the line where we do`, (t) => {
  const directory = scratch(t);
  const written = writeLog(directory, 512, [
    "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)",
    ...Array.from({ length: 12 }, (_, i) => `INSERT INTO t VALUES(${i}, randomblob(${i * 90}))`),
  ]);
  const property = fc.property(
    fraction,
    flip,
    fc.boolean(),
    fc.boolean(),
    (where, bits, cut, big) => {
      const at = Math.floor(where * written.log.length);
      const log = big ? resum(written.log, true) : written.log;
      const hurt = cut ? log.subarray(0, at) : damaged(log, at, bits);
      const rows = rowsSeenBySqlite(directory, { file: written.file, log: hurt });
      assert.equal(rows.length, Math.max(0, commitsOf(t, hurt).length - 1));
    },
  );
  fc.assert(property, { seed, numRuns: runs(60) });
});

test("canary: a log that went on elsewhere is no beginning of this one", (t) => {
  const [written] = someLogs(t) as [Case, ...Case[]];
  const { log, pageSize, commits } = written;
  const other = Buffer.from(log);
  other[frameOffset(3, pageSize) + 60]! ^= 1;
  const survivors = commitsOf(t, resum(other, false));
  assert.equal(survivors.length, commits.length);
  assert.notDeepEqual(survivors, commits);
});
