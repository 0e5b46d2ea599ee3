/**
 * A failure that was taken note of in passing was waited for once more, for all of `replicaTimeout`; and
 * durableSync() did not heed its own timeout while a replica was being locked.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { DatabaseSync } from "../../src/index.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { Scene } from "../support/scene.ts";

const TIMEOUT = 20_000;

/** At rest, and then opened; the replica is locked by another before its thread can have it. */
function lockedMeanwhile(t: TestContext): DatabaseSync {
  const scene = Scene.make(t);
  scene.life((db) => db.put());
  const { primary, replica } = scene;
  const options = { replicas: [replica], durability: "barrier", replicaTimeout: TIMEOUT } as const;
  const db = new DatabaseSync(primary, options);
  const lock = Sidecar.open(loadDriver("node:sqlite"), replica, "replica");
  t.after(() => lock.close());
  return db;
}

test("a failure before the first commit is an event, and fences at once", async (t) => {
  const db = lockedMeanwhile(t);
  const failure = await new Promise<{ code: string }>((resolve) => {
    db.replication?.once("failed", resolve);
  });
  assert.equal(failure.code, "ERR_LOCKSTEP_LOCKED");
  assert.equal(db.replication?.status.replicas[0]?.state, "failed");
  assert.throws(() => db.exec("SELECT 1"), { code: "ERR_LOCKSTEP_LOCKED" });
  const began = performance.now();
  db.close();
  assert.ok(performance.now() - began < TIMEOUT / 2, "it waited for nobody");
});

test("a commit before the failure is told of it at once", (t) => {
  const db = lockedMeanwhile(t);
  const began = performance.now();
  db.exec("INSERT INTO t VALUES (1000, x'00')");
  assert.throws(() => db.replication?.durableSync(), { code: "ERR_LOCKSTEP_LOCKED" });
  db.close();
  assert.ok(performance.now() - began < TIMEOUT / 2, "it did not wait for what had failed");
});
