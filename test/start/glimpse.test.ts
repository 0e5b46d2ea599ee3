/**
 * A start that does not wait for the mirror's thread: copies at rest are only looked at, and the thread
 * must find what was seen there before anything is acknowledged.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { type TestContext, test } from "node:test";
import { type DriverName, loadDriver } from "../../src/driver.ts";
import { expectsBulk, glimpse } from "../../src/gate/glimpse.ts";
import { Mirror } from "../../src/gate/mirror.ts";
import { Primary } from "../../src/gate/primary.ts";
import { allocate, Slots } from "../../src/gate/slots.ts";
import type { Copy } from "../../src/lineage/describe.ts";
import { sidecarPath } from "../../src/lineage/sidecar.ts";
import { failed, ok, Pair, TIMEOUT_MS } from "../faults/pair.ts";
import { skip } from "../faults/shim.ts";
import { driversOr } from "../support/drivers.ts";
import { elsewhere } from "../support/program.ts";
import { Scene } from "../support/scene.ts";

for (const driver of driversOr("node:sqlite")) {
  test(`${driver}: the start returns although the replica's lock cannot be had yet`, {
    skip,
  }, async (t) => {
    const pair = new Pair(t, driver, { replicaTimeout: TIMEOUT_MS });
    await pair.begin();
    ok(await pair.insert());
    ok(await pair.close());
    pair.faults.set({ on: "write", path: "replica/app.db-lockstep-journal", nth: 1, does: "hang" });
    const { milliseconds } = ok(await pair.open());
    assert.ok(milliseconds < TIMEOUT_MS, "the start did not wait for the replica");
    failed(await pair.insert(), "REPLICA_TIMEOUT");
    pair.hangs = true;
    ok(await pair.close());
    failed(await pair.open(), "LOCKED"); // by the thread that hangs
    await pair.recovers({ replicaTimeout: TIMEOUT_MS });
  });

  test(`${driver}: what is not at rest is not taken at a glance`, (t) => {
    const scene = Scene.make(t, { driver });
    const look = (): Copy | null => glimpse(loadDriver(driver), scene.replica);
    assert.equal(look(), null, "there is none");
    const db = scene.life((first) => first.put());
    assert.ok(look()?.position);
    const again = scene.open();
    again.put(); // by now the thread has locked it
    assert.equal(look(), null, "it is in use");
    again.close();
    db.abandon();
    const record = fs.readFileSync(sidecarPath(scene.replica));
    fs.writeFileSync(sidecarPath(scene.replica), "not a database".repeat(100));
    assert.equal(look(), null, "its record is garbage");
    fs.writeFileSync(sidecarPath(scene.replica), record);
  });

  test(`${driver}: a process for whole files is expected to be needed where it is`, (t) => {
    const scene = Scene.make(t, { driver, replicas: 2 });
    const expects = (): boolean => {
      const primary = new Primary(loadDriver(driver), scene.primary);
      try {
        return expectsBulk(primary, scene.replica, glimpse(loadDriver(driver), scene.replica));
      } finally {
        primary.close(true, "");
      }
    };
    assert.equal(expects(), true, "there is no replica");
    scene.life((db) => db.put());
    assert.equal(expects(), false, "in step");
    scene.life((db) => db.put(), { replicas: [2] });
    assert.equal(expects(), true, "an older replica");
  });

  test(`${driver}: a replica that was used between the look and the lock is refused`, (t) => {
    const { mirror, seen } = atRest(t, driver, () => {});
    mirror.copy = {
      ...seen,
      state: { ...(seen.state as NonNullable<Copy["state"]>), timeline: 2 },
    };
    mirror.attach(1);
    assert.deepEqual(mirror.attachedAt(), seen.position, "nobody waits");
    assert.throws(() => mirror.wait("attached"), { code: "ERR_LOCKSTEP_LOCKED" });
    mirror.close(false, "");
  });

  test(`${driver}: a replica that another program wrote between the look and the lock`, (t) => {
    const { mirror } = atRest(t, driver, (replica) => {
      const db = loadDriver(driver).open(replica);
      db.exec("INSERT INTO t VALUES(1000, 'foreign')");
      db.close();
    });
    mirror.attach(1);
    assert.throws(() => mirror.wait("attached"), { code: "ERR_LOCKSTEP_REPLICA_CHANGED" });
    mirror.close(false, "");
  });

  test(`${driver}: a replica whose log was put back and written, between the look and the lock`, (t) => {
    const { mirror } = atRest(t, driver, (replica, log) => {
      fs.writeFileSync(`${replica}-wal`, log);
      elsewhere(replica, ["INSERT INTO t VALUES(1000, 'foreign')"], { killed: true });
    });
    mirror.attach(1);
    assert.throws(() => mirror.wait("attached"), { code: "ERR_LOCKSTEP_REPLICA_CHANGED" });
    mirror.close(false, "");
  });
}

/** A mirror of a replica that was glimpsed at rest; `between` the look and its lock something happens, with its log as it was. */
function atRest(
  t: TestContext,
  driver: DriverName,
  between: (replica: string, log: Uint8Array) => void,
): { mirror: Mirror; seen: Copy } {
  const scene = Scene.make(t, { driver });
  let log = new Uint8Array();
  scene.life((db) => {
    db.put();
    log = fs.readFileSync(`${scene.replica}-wal`);
  });
  const seen = glimpse(loadDriver(driver), scene.replica);
  assert.ok(seen);
  between(scene.replica, log);
  const memory = allocate(1, 1 << 20);
  const where = { primary: scene.primary, addresses: [scene.replica] };
  const waiting = { slots: new Slots(memory), timeout: 20_000, onProgress: null };
  const context = { driver, memory, ...waiting, ...where, known: () => 0 };
  return { mirror: new Mirror(context, scene.replica, 0, seen), seen };
}
