/**
 * The order in which a copy out of a stream is synced, recorded and named: cut off anywhere by a failing power supply, it
 * is the old state or the new. What is called is noted; nothing is faked.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { follow } from "../../src/standby/follow.ts";
import { promote } from "../../src/standby/promote.ts";
import { restoreStream } from "../../src/standby/restore.ts";
import { insert, world } from "./world.ts";

/** What is synced, named and recorded from now on, by the file's name without the directory. */
function noted(t: TestContext, directory: string): string[] {
  const steps: string[] = [];
  const { openSync, fsyncSync, fdatasyncSync, renameSync } = fs;
  const { update } = Sidecar.prototype;
  t.after(() => {
    Object.assign(fs, { openSync, fsyncSync, fdatasyncSync, renameSync });
    Sidecar.prototype.update = update;
  });
  const names = new Map<number, string>();
  const nameOf = (file: string): string => path.relative(directory, file) || ".";
  Object.assign(fs, {
    openSync(...args: Parameters<typeof openSync>) {
      const fd = openSync(...args);
      names.set(fd, nameOf(String(args[0])));
      return fd;
    },
    fsyncSync(fd: number) {
      steps.push(`sync ${names.get(fd)}`);
      fsyncSync(fd);
    },
    fdatasyncSync(fd: number) {
      steps.push(`sync ${names.get(fd)}`);
      fdatasyncSync(fd);
    },
    renameSync(from: string, to: string) {
      steps.push(`rename ${nameOf(from)} to ${nameOf(to)}`);
      renameSync(from, to);
    },
  });
  Sidecar.prototype.update = function (change, note) {
    steps.push(`record ${Object.keys(change).sort().join(" ")}`);
    return update.call(this, change, note);
  };
  return steps;
}

test("a standby that is made: the image, its record, its name, then the log", async (t) => {
  const w = await world(t);
  await w.writer.run(insert(3));
  const steps = noted(t, path.dirname(w.dest));
  await follow(w.log, w.dest, { once: true });
  assert.deepEqual(steps.slice(0, 10), [
    "sync standby.db-lockstep-new",
    "sync standby.db-lockstep-new", // its mark
    "record databaseId folded folding generation resync role stream timeline",
    "rename standby.db-lockstep-new to standby.db",
    "sync .",
    "sync standby.db-lockstep-new",
    "record generation",
    "rename standby.db-lockstep-new to standby.db-wal",
    "sync .",
    "sync standby.db-wal", // written over itself, before it is shown
  ]);
  assert.ok(steps.slice(10).includes("sync standby.db-wal"), "what was delivered");
});

test("what stood beside the place is set aside before", async (t) => {
  const w = await world(t);
  fs.writeFileSync(`${w.dest}-wal`, "a log of something else");
  await follow(w.log, w.dest, { once: true });
  const aside = fs.readdirSync(path.dirname(w.dest)).filter((name) => name.includes("set-aside"));
  assert.equal(aside.length, 1);
});

test("a restored copy: synced, recorded, named", async (t) => {
  const w = await world(t);
  await w.writer.run(insert(3));
  const steps = noted(t, path.dirname(w.dest));
  await restoreStream(w.log, w.dest);
  assert.deepEqual(steps, [
    "sync standby.db-lockstep-new",
    ...["sync .", "sync .", "sync ."], // what stood there is set aside
    "sync standby.db-lockstep-new", // its mark
    "record databaseId folded folding generation resync role stream timeline",
    "rename standby.db-lockstep-new to standby.db",
    "sync .",
  ]);
});

test("a follower that goes on writes its log over itself and syncs it before readers see it", async (t) => {
  const w = await world(t);
  await w.writer.run(insert(3));
  await follow(w.log, w.dest, { once: true });
  const steps = noted(t, path.dirname(w.dest));
  await follow(w.log, w.dest, { once: true });
  assert.equal(steps[0], "sync standby.db-wal");
});

test("a promotion is recorded after it was found to count", async (t) => {
  const w = await world(t);
  await follow(w.log, w.dest, { once: true });
  const steps = noted(t, path.dirname(w.dest));
  await promote(w.log, w.dest, {
    onStep(step) {
      steps.push(step);
    },
  });
  const marker = steps.indexOf("marker");
  const record = steps.indexOf("record");
  assert.ok(!steps.slice(0, marker).includes("record timeline"));
  assert.ok(steps.slice(marker, record).includes("record timeline"));
  assert.deepEqual(steps.slice(record + 1), ["record role stream"]);
});

test("a standby that another program wrote is on no record any more", async (t) => {
  const w = await world(t);
  await w.writer.run(insert(3));
  await follow(w.log, w.dest, { once: true });
  await w.writer.run(insert(3));
  const stop = new AbortController();
  const done = follow(w.log, w.dest, {
    signal: stop.signal,
    onInStep() {
      fs.truncateSync(`${w.dest}-wal`, 32);
      w.writer.db.exec(insert(1));
      void w.writer.ship();
    },
  });
  await assert.rejects(done, { code: "ERR_LOCKSTEP_REPLICA_CHANGED" });
  await assert.rejects(follow(w.log, w.dest, { once: true }), {
    code: "ERR_LOCKSTEP_REPLICA_UNKNOWN",
  });
  await follow(w.log, w.dest, { once: true, force: true });
});

test("a log that does not lead to the copy's position is not put beside it", async (t) => {
  const w = await world(t);
  await w.writer.run(insert(3));
  await restoreStream(w.log, w.dest);
  const sidecar = Sidecar.open(loadDriver("node:sqlite"), w.dest, "replica");
  const { folded } = sidecar.state;
  assert.ok(folded);
  sidecar.update({ folded: { ...folded, position: { ...folded.position, sum1: 1 } } });
  sidecar.close();
  await assert.rejects(follow(w.log, w.dest, { once: true }), { code: "ERR_LOCKSTEP_DIVERGED" });
  assert.equal(fs.existsSync(`${w.dest}-wal`), false);
});
