/** What is not wrong yet is said: in good time, once, and it is said when it is over. */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { DatabaseSync } from "../../src/index.ts";
import type { ReplicationHandle } from "../../src/observe.ts";
import { status } from "../../src/status.ts";
import { createArchive } from "../../src/stream/archive.ts";
import type { Warning, WarningKind } from "../../src/warning.ts";
import { Trio } from "../degrade/trio.ts";
import { type Any, drivers, Pair } from "../dropin/pair.ts";
import { scratch } from "../scratch.ts";
import { Program } from "../support/program.ts";

const LINUX = process.platform !== "linux" && "only Linux tells who holds a lock";
const handleOf = (db: Any): ReplicationHandle => db.replication;

/** The next time that this is said of a kind. */
async function told(
  db: Any,
  kind: WarningKind,
  event: "warning" | "warning-over" = "warning",
): Promise<Warning> {
  for (;;) {
    const [warning] = (await once(handleOf(db), event)) as [Warning];
    if (warning.kind === kind) return warning;
  }
}

/** It is so, be it said already or not. */
async function known(db: Any, kind: WarningKind): Promise<Warning> {
  return handleOf(db).status.warnings.find((each) => each.kind === kind) ?? told(db, kind);
}

const kindsOf = (db: Any): WarningKind[] => handleOf(db).status.warnings.map(({ kind }) => kind);
const openMs = (db: Any): number | null => handleOf(db).metrics.openTransactionMs;

for (const driver of drivers) {
  describe(`${driver}: a transaction that is left open`, () => {
    const open = (t: TestContext, options: object = {}): [Any, Pair] => {
      const pair = new Pair(t, driver);
      const db = pair.open({ openTransactionMs: 100, ...options });
      db.exec("CREATE TABLE t (x)");
      return [db, pair];
    };

    test("is told with what began it, where and when, and when it is over", async (t) => {
      const [db, { primary }] = open(t);
      const begun = Date.now();
      db.exec("BEGIN  IMMEDIATE;\n INSERT INTO t VALUES (1)");
      const warning = await told(db, "open-transaction");
      assert.equal(warning.copy, primary);
      assert.match(warning.what, /begun by BEGIN IMMEDIATE; INSERT INTO t VALUES \(1\) at /);
      assert.ok(warning.what.includes(import.meta.filename));
      const [first] = warning.stack?.split("\n") ?? [];
      assert.ok(first?.includes(import.meta.filename), "Lockstep's own frames are left out");
      assert.ok(Math.abs(Date.parse(warning.since) - begun) < 50);
      assert.ok(Date.now() - begun >= 100);
      assert.deepEqual(
        handleOf(db).status.warnings.filter(({ kind }) => kind === "open-transaction"),
        [warning],
      );
      assert.ok((openMs(db) ?? 0) >= 100);
      const over = told(db, "open-transaction", "warning-over");
      db.exec("COMMIT");
      assert.deepEqual(await over, warning);
      assert.ok(!kindsOf(db).includes("open-transaction"));
      assert.equal(openMs(db), null);
    });

    test("by a prepared statement; or it was not seen to begin", async (t) => {
      const [db] = open(t);
      db.prepare("BEGIN").run();
      await delay(2);
      db.prepare("INSERT INTO t VALUES (1)").run();
      assert.match((await told(db, "open-transaction")).what, /begun by BEGIN at /);
      db.prepare("ROLLBACK").run();
      await told(db, "open-transaction", "warning-over");
      assert.throws(() => db.exec("BEGIN; INSERT INTO nowhere VALUES (1)"));
      const { what, stack } = await told(db, "open-transaction");
      assert.match(what, /how it began was not seen$/);
      assert.equal(stack, null);
      db.exec("ROLLBACK");
    });

    test("is not one of those that end in time, however many there are", async (t) => {
      const [db] = open(t);
      const insert = db.prepare("INSERT INTO t VALUES (1)");
      const heard: Warning[] = [];
      handleOf(db).on("warning", (warning) => heard.push(warning));
      db.exec("BEGIN");
      for (let i = 0; i < 20; i++) {
        await delay(20);
        db.exec("COMMIT; BEGIN");
      }
      await delay(10);
      db.exec("END");
      insert.run();
      assert.equal(openMs(db), null);
      if (driver === "better-sqlite3") {
        db.transaction(() => {
          insert.run();
          assert.ok((openMs(db) ?? 0) < 100);
        })();
        assert.equal(openMs(db), null);
      }
      assert.deepEqual(
        heard.filter(({ kind }) => kind === "open-transaction"),
        [],
      );
    });

    test("an iterator that was not finished holds the log, too", { skip: LINUX }, async (t) => {
      const [db] = open(t);
      for (let i = 0; i < 9; i++) db.exec("INSERT INTO t VALUES (1)");
      const rows = db.prepare("SELECT * FROM t").iterate();
      rows.next();
      // With better-sqlite3 nothing else can be done meanwhile, with this connection.
      const other = new Program(t, db.name ?? db.location(), {});
      await other.sql("INSERT INTO t VALUES (2)");
      const { what, next } = await told(db, "open-transaction");
      assert.match(what, new RegExp(`^Process ${process.pid}, this one, reads the log as it was`));
      assert.match(next, /iterator/);
      rows.return();
      await told(db, "open-transaction", "warning-over");
      await other.end();
      db.exec("INSERT INTO t VALUES (3)");
    });

    test("0 is no limit", async (t) => {
      const [db] = open(t, { openTransactionMs: 0 });
      db.exec("BEGIN");
      await known(db, "same-disk");
      assert.ok((openMs(db) ?? 0) > 0);
      db.exec("COMMIT");
    });
  });
}

describe("of another program", { skip: LINUX }, () => {
  const open = (t: TestContext): [Any, Program] => {
    const pair = new Pair(t, "node:sqlite");
    const db = pair.open({ openTransactionMs: 100 });
    db.exec("CREATE TABLE t (x)");
    return [db, new Program(t, pair.primary)];
  };

  test("the write lock, held: which process, and since when it is seen", async (t) => {
    const [db, other] = open(t);
    await other.sql("BEGIN IMMEDIATE");
    const { what, since, stack } = await told(db, "open-transaction");
    assert.match(what, /^Process \d+ \(node.*\) has SQLite's write lock: nobody else can write$/);
    assert.ok(!what.startsWith(`Process ${process.pid} `));
    assert.ok(Date.now() - Date.parse(since) >= 100);
    assert.equal(stack, null);
    const over = told(db, "open-transaction", "warning-over");
    await other.sql("COMMIT");
    await over;
    await other.end();
  });

  test("an old read mark; who reads again and again is not meant", async (t) => {
    const [db, other] = open(t);
    const heard: Warning[] = [];
    handleOf(db).on("warning", (warning) => heard.push(warning));
    for (let i = 0; i < 20; i++) {
      await other.sql("SELECT count(*) FROM t");
      db.exec("INSERT INTO t VALUES (1)");
      await delay(20);
    }
    assert.ok(!heard.some(({ kind }) => kind === "open-transaction"), JSON.stringify(heard));
    await other.sql("BEGIN");
    await other.sql("SELECT count(*) FROM t");
    const frame = handleOf(db).status.primary.position.split("/")[2];
    db.exec("INSERT INTO t VALUES (1)");
    const { what } = await told(db, "open-transaction");
    assert.match(what, new RegExp(`^Process \\d+ .* reads the log as it was at frame ${frame}:`));
    const over = told(db, "open-transaction", "warning-over");
    await other.kill();
    await over;
  });
});

test("a log beyond its limit: what is in the way, and who reads", { skip: LINUX }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const db = pair.open({ checkpointBytes: 64 << 10, openTransactionMs: 100 });
  db.exec("CREATE TABLE t (x)");
  const reader = new Program(t, pair.replica, { readOnly: true });
  await reader.sql("BEGIN");
  await reader.sql("SELECT count(*) FROM t");
  const { logLimitBytes } = handleOf(db).metrics;
  while (handleOf(db).status.primary.logBytes <= logLimitBytes) {
    db.exec("INSERT INTO t VALUES (zeroblob(3000))");
  }
  const { what, copy } = await told(db, "large-log");
  assert.equal(copy, pair.primary);
  assert.ok(what.includes(`${pair.replica}: a reader of the replica is in the way`), what);
  assert.match(what, /it is read by process \d+ \(node.*\)$/);
  const over = told(db, "large-log", "warning-over");
  await reader.sql("COMMIT");
  await reader.end();
  while (handleOf(db).metrics.checkpoints === 0) db.exec("INSERT INTO t VALUES (zeroblob(3000))");
  await over;
});

describe("disks", () => {
  test("nearly full: by default not this one, with a limit beyond its size each copy's", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    const db = pair.open({ lowSpaceBytes: Number.MAX_SAFE_INTEGER });
    const first = await told(db, "low-space");
    await delay(0);
    const copies = handleOf(db).status.warnings.filter(({ kind }) => kind === "low-space");
    assert.deepEqual(
      copies.map(({ copy }) => copy),
      [pair.primary, pair.replica],
    );
    assert.match(first.what, /nearly full: \d+ MiB of \d+ MiB are left$/);
    const { bavail, bsize } = fs.statfsSync(pair.primary);
    const { freeBytes, replicas } = handleOf(db).metrics;
    for (const free of [freeBytes, replicas[0]?.freeBytes]) {
      assert.ok(Math.abs((free ?? 0) - bavail * bsize) < 1 << 30); // others write there, too
    }
    db.close();
    const again = pair.open({ lowSpaceBytes: 0 });
    await known(again, "same-disk");
    assert.ok(!kindsOf(again).includes("low-space"));
  });

  test("the same one is said once, also when the replica is away for a while", async (t) => {
    const trio = new Trio(t, "node:sqlite");
    const db = trio.open({ openTransactionMs: 200 }); // so often it looks
    const heard: string[] = [];
    for (const event of ["warning", "warning-over"] as const) {
      handleOf(db).on(event, ({ kind, copy }) => heard.push(`${event} ${kind} ${copy}`));
    }
    await told(db, "same-disk");
    await trio.put(db, 1);
    trio.pullOut("one");
    while (trio.states(db)[0] === "mirroring") await trio.put(db, 1);
    await delay(200);
    trio.putBack("one");
    await trio.untilRejoined(db, trio.replicas[0]);
    await delay(200);
    assert.deepEqual(
      heard.filter((each) => each.includes("same-disk")),
      trio.replicas.map((replica) => `warning same-disk ${replica}`),
    );
    trio.closeAndCompare(db);
  });

  test("the primary's, of an archive: as of a replica in a file", async (t) => {
    const root = fs.realpathSync(scratch(t));
    const [primary, archive] = [path.join(root, "app.db"), path.join(root, "archive")];
    await createArchive(archive);
    const replicas = [`archive:${archive}?keep=1d`];
    const db = new DatabaseSync(primary, { replicas });
    const { copy, what } = await told(db, "same-disk");
    assert.equal(copy, `archive:${archive}`);
    assert.equal(what, `archive:${archive} is on the disk of ${primary}, and does not survive it`);
    const { bavail, bsize } = fs.statfsSync(archive);
    const { freeBytes = null } = db.replication?.metrics.replicas[0] ?? {};
    assert.ok(Math.abs((freeBytes ?? 0) - bavail * bsize) < 1 << 30);
    db.close();
    const { warnings } = await status(primary, replicas);
    assert.deepEqual(
      warnings.filter(({ kind }) => kind === "same-disk").map((each) => each.copy),
      [copy],
    );
  });

  const memory = fs.statfsSync("/dev/shm", { bigint: false })?.type === 0x01021994;
  test("another, of an archive, and what that is", {
    skip: !memory && "/dev/shm is no tmpfs",
  }, async (t) => {
    const archive = fs.mkdtempSync("/dev/shm/lockstep-test-");
    t.after(() => fs.rmSync(archive, { recursive: true }));
    await createArchive(archive);
    const replicas = [`archive:${archive}`];
    const db = new DatabaseSync(path.join(scratch(t), "app.db"), { replicas });
    const { copy, what } = await told(db, "no-disk");
    assert.equal(copy, `archive:${archive}`);
    assert.match(what, /in memory \(tmpfs\)/);
    assert.ok(!kindsOf(db).includes("same-disk"));
    db.close();
  });

  test("in memory it is none", { skip: !memory && "/dev/shm is no tmpfs" }, async (t) => {
    const root = fs.mkdtempSync("/dev/shm/lockstep-test-");
    t.after(() => fs.rmSync(root, { recursive: true }));
    const replica = path.join(root, "app.db");
    const db = new DatabaseSync(path.join(scratch(t), "app.db"), { replicas: [replica] });
    const warning = await told(db, "no-disk");
    assert.equal(warning.copy, replica);
    assert.match(warning.what, /in memory \(tmpfs\)/);
    assert.ok(!kindsOf(db).includes("same-disk"));
    db.close();
    assert.deepEqual(db.replication, null);
  });
});
