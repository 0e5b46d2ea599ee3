/** `replication.metrics`: what is counted, with either driver and either durability. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { ReplicationMetrics } from "../../src/metrics.ts";
import { Trio } from "../degrade/trio.ts";
import { type Any, drivers, Pair } from "../dropin/pair.ts";
import { logEnd } from "../support/files.ts";
import { elsewhere, Program } from "../support/program.ts";

const metrics = (db: Any): ReplicationMetrics => db.replication.metrics;
const FRAME = 4096 + 24;

/** A mirror counts a sync after it has confirmed it. */
async function syncs(db: Any, replica: number, least: number): Promise<void> {
  while ((metrics(db).replicas[replica]?.syncLatency.count ?? 0) < least) await delay(1);
}

for (const driver of drivers) {
  describe(driver, () => {
    test("commits, bytes and latencies of durability commit", async (t) => {
      const pair = new Pair(t, driver);
      const db = pair.open();
      assert.equal(metrics(db).commits, 0, "the start is not counted");
      assert.equal(metrics(db).commitLatency.count, 0);
      db.exec("CREATE TABLE t (x)");
      for (let i = 0; i < 9; i++) db.exec(`INSERT INTO t VALUES (${i})`);
      db.prepare("SELECT count(*) FROM t").get();
      const { commits, bytes, commitLatency, logBytes, logLimitBytes, ...rest } = metrics(db);
      assert.equal(commits, 10);
      assert.equal(bytes + 32, logEnd(pair.primary));
      assert.equal(logBytes, logEnd(pair.primary));
      assert.equal(logLimitBytes, 32 << 20);
      assert.equal(commitLatency.count, 10);
      assert.ok(commitLatency.sumMs > 0);
      await syncs(db, 0, 10);
      const [replica] = metrics(db).replicas;
      assert.equal(replica?.path, pair.replica);
      assert.deepEqual(replica?.lag, { frames: 0, bytes: 0, seconds: 0 });
      assert.ok((replica?.syncLatency.sumMs ?? 0) < commitLatency.sumMs + 1000);
      assert.deepEqual([rest.ringBytes, rest.ringLimitBytes], [0, 2 << 20]);
      assert.equal(rest.oldestReaderMs, null);
      db.close();
      assert.equal(rest.checkpoints, 0);
    });

    test("transactions of one call are counted one by one", (t) => {
      const db = new Pair(t, driver).open();
      db.exec(
        "CREATE TABLE t (x); INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2); COMMIT",
      );
      assert.equal(metrics(db).commits, 3);
      assert.equal(metrics(db).commitLatency.count, 1);
    });

    test("and those of another program, when they are seen", async (t) => {
      const pair = new Pair(t, driver);
      const db = pair.open();
      db.exec("CREATE TABLE t (x)");
      const before = metrics(db);
      elsewhere(pair.primary, ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"]);
      assert.equal(metrics(db).commits, before.commits, "not seen yet");
      assert.equal(metrics(db).replicas[0]?.lag.bytes, 2 * FRAME);
      await db.replication.durable();
      assert.equal(metrics(db).commits, before.commits + 2);
      assert.equal(metrics(db).bytes, before.bytes + 2 * FRAME);
    });

    test("with durability barrier a latency is that of a round, and lag has an age", async (t) => {
      const db = new Pair(t, driver).open({ durability: "barrier" });
      db.exec("CREATE TABLE t (x)");
      await db.replication.durable();
      const rounds = metrics(db).commitLatency.count;
      for (let i = 0; i < 5; i++) db.exec(`INSERT INTO t VALUES (${i})`);
      await delay(20);
      const [lagging] = metrics(db).replicas;
      assert.equal(lagging?.lag.bytes, (lagging?.lag.frames ?? 0) * FRAME);
      assert.ok((lagging?.lag.frames ?? 0) > 0);
      const { seconds = 0 } = lagging?.lag ?? {};
      assert.ok(seconds >= 0.015 && seconds < 10, `${seconds} s`);
      await Promise.all([db.replication.durable(), db.replication.durable()]);
      assert.equal(metrics(db).commitLatency.count, rounds + 1);
      assert.deepEqual(metrics(db).replicas[0]?.lag, { frames: 0, bytes: 0, seconds: 0 });
      assert.equal(metrics(db).commits, 6);
    });

    test("checkpoints, and for how long a reader puts one off", async (t) => {
      const pair = new Pair(t, driver);
      const db = pair.open({ checkpointBytes: 64 << 10 });
      db.exec("CREATE TABLE t (x)");
      const reader = new Program(t, pair.replica, { readOnly: true });
      await reader.sql("BEGIN");
      await reader.sql("SELECT count(*) FROM t");
      const grow = (): void => {
        for (let i = 0; i < 30; i++) db.exec("INSERT INTO t VALUES (zeroblob(3000))");
      };
      grow();
      const held = metrics(db);
      assert.equal(held.checkpoints, 0);
      assert.ok(held.checkpointsPostponed > 0);
      await delay(5);
      assert.ok((metrics(db).oldestReaderMs ?? 0) >= 4);
      await reader.sql("COMMIT");
      await reader.end();
      while (metrics(db).checkpoints === 0) grow();
      assert.equal(metrics(db).oldestReaderMs, null);
    });

    test("a replica that is detached lags for as long as it is, and its failure has no metrics to hide", async (t) => {
      const trio = new Trio(t, driver);
      const db = trio.open();
      await trio.put(db, 1);
      trio.pullOut("one");
      while (trio.states(db)[0] === "mirroring") await trio.put(db, 1);
      await delay(10);
      const [one, two] = metrics(db).replicas;
      assert.ok((one?.lag.seconds ?? 0) > 0.005);
      assert.equal(two?.lag.seconds, 0);
      trio.putBack("one");
      await trio.untilRejoined(db, trio.replicas[0]);
      assert.equal(metrics(db).replicas[0]?.lag.seconds, 0);
      trio.closeAndCompare(db);
    });
  });
}
