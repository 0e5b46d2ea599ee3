/** Durability `barrier`: what returns at once, and what durable() then waits for. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { ChannelMessages } from "../../src/channels.ts";
import { sameSalts } from "../../src/wal/format.ts";
import { type LogScan, scanLog } from "../../src/wal/scan.ts";
import { assertAtRest, readAtRest } from "../support/files.ts";
import { type Any, drivers, Pair } from "./pair.ts";

type Round = ChannelMessages["lockstep:commit"];

const BARRIER = { durability: "barrier" };
const sources = { "node:sqlite": "index.ts", "better-sqlite3": "better-sqlite3.ts" } as const;

function opened(pair: Pair, options: object = {}): Any {
  const db = pair.open({ ...BARRIER, ...options });
  db.exec("CREATE TABLE t (x)");
  return db;
}

function lag(db: Any): number {
  return db.replication.status.replicas[0].lag;
}

for (const driver of drivers) {
  describe(driver, () => {
    test("durable() resolves with the position that every copy then has", async (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair);
      const insert = db.prepare("INSERT INTO t VALUES (?)");
      for (let i = 0; i < 20; i++) insert.run(i);
      assert.ok(lag(db) > 0, "nobody has waited yet");
      const position = await db.replication.durable();
      const { primary, replicas } = db.replication.status;
      assert.equal(position, primary.position);
      assert.equal(position, replicas[0].position);
      assert.equal(lag(db), 0);
      pair.assertInStep();
      assert.equal(await db.replication.durable(), position, "and again, at once");
      assert.equal(db.replication.durableSync(), position);
    });

    test("durableSync() does the same, blocking", (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair);
      db.exec("INSERT INTO t VALUES (1)");
      assert.equal(db.replication.durableSync({ timeout: 20_000 }), primaryPosition(db));
      assert.equal(lag(db), 0);
      pair.assertInStep();
    });

    test("callers at the same time get one position, later ones a later one", async (t) => {
      const db = opened(new Pair(t, driver));
      const callers = Array.from({ length: 20 }, (_, i) => {
        db.exec(`INSERT INTO t VALUES (${i})`);
        return db.replication.durable();
      });
      assert.equal(new Set(await Promise.all(callers)).size, 1);
      const [first] = await Promise.all(callers);
      db.exec("INSERT INTO t VALUES (0)");
      assert.notEqual(await db.replication.durable(), first);
    });

    test("a batch of commits is synced while the callers after it commit", async (t) => {
      const db = opened(new Pair(t, driver));
      const answered: number[] = [];
      const callers = Array.from({ length: 200 }, async (_, i) => {
        db.exec(`INSERT INTO t VALUES (${i})`);
        const position = await db.replication.durable();
        answered.push(i);
        return position;
      });
      const positions = new Set(await Promise.all(callers));
      assert.ok(positions.size > 1 && positions.size < 20, `${positions.size} rounds`);
      assert.deepEqual(
        answered,
        answered.toSorted((a, b) => a - b),
      );
    });

    test("one half of the callers commits while the other is synced", async (t) => {
      const db = opened(new Pair(t, driver));
      const insert = db.prepare("INSERT INTO t VALUES (zeroblob(4000))");
      const rounds: number[] = [];
      const count = (message: unknown): number => rounds.push((message as Round).commits);
      subscribe("lockstep:commit", count);
      t.after(() => unsubscribe("lockstep:commit", count));
      await Promise.all(
        Array.from({ length: 100 }, async () => {
          for (let i = 0; i < 10; i++) {
            insert.run();
            await db.replication.durable();
          }
        }),
      );
      // When nobody has begun just now, and nobody has ended; a busy machine may delay one or another.
      const full = rounds.slice(4, -4).toSorted((one, other) => one - other);
      const median = full[full.length >> 1] as number;
      assert.ok(median > 42 && median < 58, `${rounds}`);
    });

    test("what nobody waits for is handed over as it comes, in batches", (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair);
      const insert = db.prepare("INSERT INTO t VALUES (zeroblob(4000))");
      for (let i = 1; i <= 400; i++) {
        insert.run();
        if (i % 20 !== 0) continue;
        const committed = scanLog(`${pair.primary}-wal`)?.commits.at(-1)?.frame as number;
        const behind = committed - Number(primaryPosition(db).split("/")[2]);
        // 128 KiB, and what eight such statements write
        assert.ok(behind <= 32 + 8 * 4, `${behind} frames after ${i} statements`);
      }
    });

    test("many callers, each one after the other: nobody is answered too early", async (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair, { checkpointBytes: 100_000 });
      const insert = db.prepare("INSERT INTO t VALUES (?)");
      await Promise.all(
        Array.from({ length: 20 }, async (_, caller) => {
          for (let i = 0; i < 20; i++) {
            insert.run(caller * 100 + i);
            const written = scanStill(pair.primary);
            await db.replication.durable();
            const mirrored = scanStill(pair.replica);
            // Under other salts the log has restarted, and the file holds it.
            if (!sameSalts(written.header, mirrored.header)) continue;
            assert.ok(mirrored.commits.length >= written.commits.length);
          }
        }),
      );
      assert.equal(lag(db), 0);
      pair.assertInStep();
      assert.equal(db.prepare("SELECT count(*) AS n FROM t").get().n, 400);
    });

    test("what nobody waits for is synced before long", async (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair);
      while (lag(db) > 0) await turn();
      pair.assertInStep();
    });

    test("close() waits for all of it, and answers who waits", async (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair);
      db.exec("INSERT INTO t VALUES (1)");
      const durable = db.replication.durable();
      const began = turn().then(() => db.close());
      db.exec("INSERT INTO t VALUES (2)");
      const late = db.replication.durable();
      await began;
      for (const position of await Promise.all([durable, late])) assert.match(position, /^1\//);
      assertAtRest(pair.primary, [pair.replica]);
      const rows = readAtRest(pair.replica, (at) => at.prepare("SELECT x FROM t").all());
      assert.equal(rows.length, 2);
    });

    test("more than the ring holds: a commit waits for room, and that is counted", async (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair, { checkpointBytes: 1 << 30 });
      assert.equal(db.replication.status.waits, 0);
      for (let i = 0; i < 3; i++) db.exec("INSERT INTO t VALUES (zeroblob(7000000))");
      assert.ok(db.replication.status.waits > 0);
      await db.replication.durable();
      pair.assertInStep();
    });

    test("a caller who stops waiting stops nothing else", async (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair);
      const reason = new Error("its own reason");
      const { replication } = db;
      await assert.rejects(replication.durable({ signal: AbortSignal.abort(reason) }), reason);
      const controller = new AbortController();
      const [patient, impatient] = [
        replication.durable({ timeout: 60_000 }),
        replication.durable({ signal: controller.signal }),
      ];
      controller.abort(reason);
      await assert.rejects(impatient, reason);
      assert.equal(await patient, primaryPosition(db));
    });

    test("after a close what was committed is durable, and a late caller is told so", async (t) => {
      for (const durability of ["barrier", "commit"]) {
        const db = new Pair(t, driver).open({ durability });
        const { replication } = db;
        db.exec("CREATE TABLE t (x)");
        const position = await replication.durable();
        db.close();
        assert.equal(await replication.durable(), position);
        assert.equal(replication.durableSync(), position);
        assert.equal(replication.status.failure, null);
      }
    });

    test("timeouts: any length of time, and nothing else", async (t) => {
      const db = opened(new Pair(t, driver));
      for (const timeout of [Number.POSITIVE_INFINITY, 2 ** 31]) {
        db.exec("INSERT INTO t VALUES (1)");
        assert.equal(await db.replication.durable({ timeout }), primaryPosition(db));
      }
      for (const timeout of [Number.NaN, -1, "1"]) {
        const refused = { code: "ERR_LOCKSTEP_BAD_OPTION" };
        await assert.rejects(db.replication.durable({ timeout }), refused);
        assert.throws(() => db.replication.durableSync({ timeout }), refused);
      }
    });

    test("a failed replica: whoever waits is told, and so is every later call", async (t) => {
      const pair = new Pair(t, driver);
      const db = opened(pair);
      await db.replication.durable();
      fs.rmSync(`${pair.replica}-wal`);
      db.exec("INSERT INTO t VALUES (1)");
      const failure = await db.replication.durable().catch((error: Error) => error);
      assert.equal(failure.code, "ERR_LOCKSTEP_REPLICA_GONE");
      assert.throws(() => db.exec("INSERT INTO t VALUES (2)"), failure);
      assert.throws(() => db.replication.durableSync(), failure);
      await assert.rejects(db.replication.durable(), failure);
      db.close();
      const again = pair.open();
      assert.equal(again.prepare("SELECT count(*) AS n FROM t").get().n, 1);
    });

    test("a process that waits stays alive; one that ends waits for all of it", (t) => {
      for (const wait of ["console.log(await db.replication.durable())", ""]) {
        const pair = new Pair(t, driver);
        const source = path.resolve(import.meta.dirname, "../../src", sources[driver]);
        const program = `
          const lockstep = await import(${JSON.stringify(source)});
          const Database = lockstep.DatabaseSync ?? lockstep.default;
          const [, primary, replica] = process.argv;
          const db = new Database(primary, { replicas: [replica], durability: "barrier" });
          db.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
          ${wait}`;
        const flags = ["--no-warnings", "--input-type=module", "-e", program, "--"];
        const { status, stdout, stderr } = spawnSync(
          process.execPath,
          [...flags, pair.primary, pair.replica],
          { encoding: "utf8" },
        );
        assert.deepEqual([status, stderr], [0, ""]);
        assert.match(stdout, wait === "" ? /^$/ : /^1\//);
        assertAtRest(pair.primary, [pair.replica]);
      }
    });
  });
}

function primaryPosition(db: Any): string {
  return db.replication.status.primary.position;
}

/** A log that restarts while it is scanned shows a mixture: then it is scanned again. */
function scanStill(copy: string): LogScan {
  for (;;) {
    const scan = scanLog(`${copy}-wal`) as LogScan;
    const again = scanLog(`${copy}-wal`) as LogScan;
    if (sameSalts(scan.header, again.header)) return scan;
  }
}
