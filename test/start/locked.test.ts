/** One primary, one thread: everybody else is refused, and told who has it. */
import assert from "node:assert/strict";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { DriverName } from "../../src/driver.ts";
import { DRIVERS } from "../support/drivers.ts";
import { type Job, type Outcome, openInProcess, openInThread } from "../support/opener.ts";
import { Scene } from "../support/scene.ts";

function jobOf({ driver, primary, replicas }: Scene): Job {
  return { driver, primary, replicas };
}

function assertLocked(outcome: Outcome, copy: string, pid: number): void {
  assert.equal(outcome?.code, "ERR_LOCKSTEP_LOCKED", outcome?.message ?? "it was opened");
  assert.equal(outcome?.copy, copy);
  assert.ok(outcome?.message.includes(`process ${pid} on ${os.hostname()}`), outcome?.message);
}

for (const driver of DRIVERS) {
  test(`${driver}: a second process is refused and told this one's pid and host`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put();
    const { outcome } = await openInProcess(t, jobOf(scene));
    assertLocked(outcome, scene.primary, process.pid);
    db.put();
    db.close();
  });

  test(`${driver}: this process is refused while another one has it`, async (t) => {
    const scene = Scene.make(t, { driver });
    const { outcome, pid, child } = await openInProcess(t, jobOf(scene));
    assert.equal(outcome, null);
    const error = scene.refuses("LOCKED");
    assertLocked(error, scene.primary, pid);
    child.kill("SIGKILL"); // the operating system frees the lock
    await new Promise((resolve) => child.once("exit", resolve));
    scene.life((db) => db.put());
  });

  test(`${driver}: a second thread is refused; the lock stands afterwards`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    assertLocked(await openInThread(t, jobOf(scene)), scene.primary, process.pid);
    const { outcome } = await openInProcess(t, jobOf(scene));
    assertLocked(outcome, scene.primary, process.pid);
    db.put();
    db.close();
  });

  test(`${driver}: two primaries never replicate into one replica`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put();
    const other = { ...jobOf(scene), primary: path.join(scene.root, "other.db") };
    for (const { outcome } of [
      await openInProcess(t, other),
      { outcome: await openInThread(t, other) },
      await openInProcess(t, other),
    ]) {
      assertLocked(outcome, scene.replica, process.pid);
    }
    db.put();
    db.close();
  });
}

const skip = process.platform === "linux" ? false : "only Linux tells which files are open";
for (const [mine, theirs] of [DRIVERS, DRIVERS.toReversed()] as [DriverName, DriverName][]) {
  test(`${mine} here, ${theirs} in a thread: they see no locks of each other`, {
    skip,
  }, async (t) => {
    const scene = Scene.make(t, { driver: mine });
    const db = scene.open();
    db.put();
    const job = { ...jobOf(scene), driver: theirs };
    assertLocked(await openInThread(t, job), scene.primary, process.pid);
    const other = { ...job, primary: path.join(scene.root, "other.db") };
    assertLocked(await openInThread(t, other), scene.replica, process.pid);
    assertLocked((await openInProcess(t, job)).outcome, scene.primary, process.pid);
    assertLocked((await openInProcess(t, other)).outcome, scene.replica, process.pid);
    db.put();
    db.close();
  });
}
