/**
 * Goal: whatever an application does, whenever it is cut off and whichever replica is away for a
 * while, every start succeeds, no acknowledged row is missing, and closed copies are equal.
 * Method: random programs over one primary and two replicas; the comparison is Scene's own.
 * Replay: SEED=<seed> npx node --test test/property/programs.test.ts
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { frameOffset, sameSalts } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { logEnd, runSql } from "../support/files.ts";
import { type Db, type OpenOptions, Scene } from "../support/scene.ts";
import { runs, seed } from "../support/seed.ts";

/** What the application does while it has the database open. */
const act = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      put: fc.integer({ min: 1, max: 4 }),
      bytes: fc.integer({ min: 1, max: 9000 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ transaction: fc.integer({ min: 1, max: 300 }) }) },
  { weight: 2, arbitrary: fc.record({ remove: fc.nat(50) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      sql: fc.constantFrom(
        "CREATE TABLE IF NOT EXISTS other(a, b UNIQUE); INSERT INTO other VALUES(1, randomblob(9))",
        "CREATE INDEX IF NOT EXISTS by_data ON t(data)",
        "DROP INDEX IF EXISTS by_data",
        "DROP TABLE IF EXISTS other",
        "VACUUM",
        "PRAGMA user_version = 7",
        "BEGIN; UPDATE t SET data = data; ROLLBACK",
        "BEGIN IMMEDIATE; PRAGMA user_version = 8; COMMIT; BEGIN; SELECT 1; ROLLBACK",
        "ANALYZE",
      ),
    }),
  },
);

/** How it ends: closed, or cut off; then with a commit that nobody acknowledged, or a torn log. */
const end = fc.oneof(
  fc.constant("close" as const),
  fc.record({ unacknowledged: fc.nat(3) }),
  fc.record({ torn: fc.nat(2), at: fc.double({ min: 0, max: 1, noNaN: true }) }),
);

const life = fc.record({
  acts: fc.array(act, { maxLength: 8 }),
  checkpointBytes: fc.constantFrom(20_000, 65_536, 300_000, 8 << 20),
  away: fc.boolean(),
  end,
});

const program = fc.record({
  pageSize: fc.constantFrom(512, 4096, 4096, 65536),
  autoVacuum: fc.constantFrom("NONE", "FULL", "INCREMENTAL"),
  driver: fc.constantFrom("node:sqlite" as const, "better-sqlite3" as const),
  lives: fc.array(life, { minLength: 2, maxLength: 6 }),
});

type Program = typeof program extends fc.Arbitrary<infer T> ? T : never;
type Life = Program["lives"][number];

function perform(db: Db, { acts }: Life): void {
  const { acknowledged } = db.scene;
  db.put();
  for (const each of acts) {
    if ("put" in each) db.put(each.put, each.bytes);
    if ("sql" in each) db.exec(each.sql);
    if ("remove" in each) {
      db.exec(`DELETE FROM t WHERE n <= ${each.remove} AND n % 3 = 0`);
      for (const n of [...acknowledged.keys()]) {
        if (n <= each.remove && n % 3 === 0) acknowledged.delete(n);
      }
    }
    if ("transaction" in each) {
      const first = Math.max(0, ...acknowledged.keys()) + 1;
      const last = first + each.transaction - 1;
      db.exec(
        `INSERT INTO t WITH RECURSIVE c(n) AS (SELECT ${first} UNION ALL SELECT n+1 FROM c
         WHERE n < ${last}) SELECT n, zeroblob(n % 700) FROM c`,
      );
      for (let n = first; n <= last; n++) acknowledged.set(n, n % 700);
    }
  }
}

/** Cuts a log anywhere in what its file does not hold yet. */
function tear(scene: Scene, copy: string, where: number): void {
  const scan = scanLog(`${copy}-wal`);
  if (!scan) return;
  const { folded, folding } = scene.sidecar(copy).state;
  if (folding) return; // it is being folded ahead, for which all of it was synced: the file needs it
  const inFile = folded && sameSalts(folded.position, scan.header) ? folded.position.frame : 0;
  const kept = inFile === 0 ? 0 : frameOffset(inFile + 1, scan.header.pageSize);
  const size = logEnd(copy);
  fs.truncateSync(`${copy}-wal`, kept + Math.floor((size - kept) * where));
}

/** Far from the numbers of rows that are acknowledged. */
let nextUnacknowledged = 1_000_000;

/** Cuts it off and returns what is left; the original is closed, and forgotten. */
function cutOff(db: Db, ending: Exclude<Life["end"], "close">): Scene {
  const { scene } = db;
  const extra = "unacknowledged" in ending ? ending.unacknowledged : 0;
  for (let i = 0; i < extra; i++) db.putUnacknowledged(nextUnacknowledged++);
  const image = scene.crashImage();
  db.close();
  fs.rmSync(scene.root, { recursive: true });
  if ("torn" in ending) tear(image, image.copies[ending.torn] as string, ending.at);
  return image;
}

function run(t: TestContext, { pageSize, autoVacuum, driver, lives }: Program): void {
  let scene = Scene.make(t, { driver, replicas: 2 });
  runSql(scene.primary, `PRAGMA page_size=${pageSize}; PRAGMA auto_vacuum=${autoVacuum}; VACUUM`);
  let torn = true; // the first life has both replicas, and so has one after a disk that lied
  for (const each of lives) {
    const options: OpenOptions = { checkpointBytes: each.checkpointBytes };
    const db = scene.open(each.away && !torn ? { ...options, replicas: [1] } : options);
    perform(db, each);
    torn = typeof each.end === "object" && "torn" in each.end;
    if (each.end === "close") db.close();
    else scene = cutOff(db, each.end);
  }
  scene.life((db) => db.put());
  fs.rmSync(scene.root, { recursive: true });
}

test(`seed ${seed}: random programs end with equal copies and all that was acknowledged`, (t) => {
  fc.assert(
    fc.property(program, (each) => run(t, each)),
    { seed, numRuns: runs(12), endOnFailure: true },
  );
});

test("canary: a lost row is noticed", (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(3);
  scene.acknowledged.set(4, 100);
  assert.throws(() => db.close(), /acknowledged, but not there/);
});
