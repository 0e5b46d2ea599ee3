/**
 * A log of any bytes beside a database. What src/wal/scan.ts and chain.ts say of it must be what
 * SQLite's own recovery says, frame for frame; the image that image.ts makes of it must be what
 * SQLite folds; and what cannot be read is an error of ours.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { DriverName } from "../../../src/driver.ts";
import { LockstepError } from "../../../src/errors.ts";
import { withImage } from "../../../src/wal/image.ts";
import { scanLog } from "../../../src/wal/scan.ts";
import { type Ending, scratch } from "../../scratch.ts";
import { resum, type Written, writeLog } from "../../support/logs.ts";
import { forge, withSalts } from "../bytes.ts";
import type { Target } from "../fuzzer.ts";
import { recover, renew } from "../oracle.ts";

export interface LogInput {
  /** Which of the databases it lies beside. */
  readonly beside: number;
  readonly log: Buffer;
  readonly driver: DriverName;
}

/** SQLite folds no log that claims a database larger by more than this than what is there. */
const SLACK_BYTES = 65536;

/** @param scan the function under test: a canary's is wrong */
export function logTarget(t: Ending, scan = scanLog): Target<LogInput> {
  const directory = scratch(t);
  const databases = someDatabases(directory);
  const ours = path.join(directory, "ours.db");
  return {
    name: "log",
    corpus: databases.map(({ log }, beside) => ({ beside, log, driver: "node:sqlite" })),
    mutate({ beside, log }, others, random) {
      const other = random.pick(others).log;
      const driver = random.oneIn(3) ? "better-sqlite3" : "node:sqlite";
      const where = random.oneIn(40) ? random.below(databases.length) : beside;
      return { beside: where, log: forge(log, other, random), driver };
    },
    check({ beside, log, driver }) {
      const { file } = databases[beside] as Written;
      renew(ours, file);
      renew(`${ours}-wal`, log);
      const found = recover(directory, { file, log, driver });
      const pageOf: number[] = [];
      const scanned = scan(`${ours}-wal`, ({ frame }, pages) => {
        for (const [page, at] of pages) pageOf[at - 1] = page;
        assert.equal(Math.max(...pages.values()), frame, "a transaction ends with its commit");
      });
      const last = scanned?.commits.at(-1) ?? null;
      const frames = found.log?.frames ?? 0;
      assert.equal(last?.frame ?? 0, frames, `frames (${found.refused})`);
      if (scanned && last && found.log) {
        assert.equal(last.pages, found.log.pages, "pages after the last commit");
        assert.deepEqual([last.sum1, last.sum2], found.log.sums, "the sums");
        const { salt1, salt2, pageSize } = scanned.header;
        assert.deepEqual([salt1, salt2], found.log.salts, "the salts");
        assert.equal(pageSize, found.log.pageSize, "the page size");
        // Of a page's several frames in a transaction the scan names the newest.
        pageOf.forEach((page, i) => {
          assert.equal(page, found.log?.pageOf[i], `the page of frame ${i + 1}`);
        });
      }
      const image = imageOf(ours);
      if (found.folded && image) {
        assert.ok(image.equals(found.folded), "the image is what SQLite folds");
      }
    },
  };
}

/** The logical image; null if it is refused. */
function imageOf(file: string): Buffer | null {
  const to = `${file}-image`;
  try {
    return withImage(file, (image) => {
      const there = fs.statSync(file).size + fs.statSync(`${file}-wal`).size;
      assert.ok(image.pages * image.pageSize <= there + SLACK_BYTES, "no larger than can be");
      fs.rmSync(to, { force: true });
      const fd = fs.openSync(to, "w");
      image.writeTo(fd);
      fs.closeSync(fd);
      return fs.readFileSync(to);
    });
  } catch (error) {
    if (error instanceof LockstepError) return null;
    throw error;
  }
}

/** Logs of several page sizes and shapes; each under salts of its own, in both byte orders. */
export function someDatabases(directory: string): Written[] {
  const rows = (count: number, bytes: number): string[] =>
    Array.from({ length: count }, (_, i) => `INSERT INTO t VALUES(${i}, zeroblob(${i * bytes}))`);
  const table = "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)";
  const plain = [
    writeLog(directory, 512, [table, ...rows(6, 300)]),
    writeLog(directory, 1024, [table, ...rows(8, 700), "DELETE FROM t WHERE n % 2", "VACUUM"]),
    writeLog(directory, 4096, [table, ...rows(3, 100), "DROP TABLE t"]),
    spilled(directory),
    restarted(directory),
  ].map((written, i) => ({ ...written, log: withSalts(written.log, 1000 + i, 0x9e3779b9 * i) }));
  return [...plain, ...plain.slice(0, 2).map((each) => ({ ...each, log: resum(each.log, true) }))];
}

/** Ends with valid frames that belong to no transaction. */
function spilled(directory: string): Written {
  const written = writeLog(directory, 512, [
    "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)",
    "INSERT INTO t VALUES(1, zeroblob(100))",
    "PRAGMA cache_size=3",
    "BEGIN; INSERT INTO t VALUES(2, zeroblob(9000)); INSERT INTO t VALUES(3, zeroblob(9000))",
  ]);
  return written;
}

/** Was begun anew: behind its end lie frames of the generation before. */
function restarted(directory: string): Written {
  const name = path.join(fs.mkdtempSync(path.join(directory, "log-")), "made.db");
  const db = new DatabaseSync(name);
  db.exec("PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
  db.exec("CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)");
  for (let i = 0; i < 9; i++) db.exec(`INSERT INTO t VALUES(${i}, zeroblob(${i * 100}))`);
  db.exec("PRAGMA wal_checkpoint(RESTART)");
  db.exec("INSERT INTO t VALUES(20, zeroblob(100)); INSERT INTO t VALUES(21, zeroblob(700))");
  const made = { file: fs.readFileSync(name), log: fs.readFileSync(`${name}-wal`), pageSize: 512 };
  db.close();
  return made;
}
