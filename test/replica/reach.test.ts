/** `openReplica`: where a replica stands, and waiting until it stands further. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import { openReplica as openBetter } from "../../src/better-sqlite3.ts";
import type { LockstepError } from "../../src/errors.ts";
import { openReplica } from "../../src/index.ts";
import { parsePosition } from "../../src/lineage/position.ts";
import { restore } from "../../src/restore.ts";
import { Trio } from "../degrade/trio.ts";
import { scratch } from "../scratch.ts";
import { DRIVERS } from "../support/drivers.ts";
import { copyDirectory } from "../support/files.ts";
import { Program } from "../support/program.ts";
import { count, indexPosition, openFor } from "../support/replica.ts";
import { Scene } from "../support/scene.ts";

type Fault = NodeJS.ErrnoException;

const LINUX_ONLY = fs.existsSync("/proc/self/fd") ? false : "descriptors are listed on Linux only";
const SOON = { timeout: 10_000 };
/** For what is not to happen. */
const NEVER = { timeout: 60 };

/** The position, so many frames further. */
const further = (position: string, frames: number): string =>
  position.replace(/\/(\d+)\//, (_, frame) => `/${Number(frame) + frames}/`);

const otherSums = (position: string): string => position.replace(/[\da-f]{16}$/, "0".repeat(16));

for (const driver of DRIVERS) {
  test(`${driver}: each position is reached when it is durable, and stays so over checkpoints`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open({ checkpointBytes: 60_000 });
    db.put(1);
    const reader = openFor(t, driver, scene.replica);
    const positions: string[] = [];
    for (let i = 0; i < 60; i++) {
      db.put(1, 3000);
      const position = await db.hub.replication.durable();
      assert.equal(await reader.reach(position, SOON), position);
      assert.equal(reader.position, position);
      assert.equal(count(reader), scene.acknowledged.size);
      positions.push(position);
    }
    const generations = new Set(positions.map((each) => each.split("/")[1]));
    assert.ok(generations.size >= 3, `${generations.size} generations`);
    for (const position of positions) await reader.reach(position, SOON);
    reader.close();
    db.close();

    // Nobody has it open: the file alone says it.
    const late = openFor(t, driver, scene.replica);
    assert.equal(late.position, positions.at(-1));
    for (const position of positions) assert.equal(await late.reach(position), positions.at(-1));
    await assert.rejects(late.reach(further(positions.at(-1) as string, 1), NEVER), {
      code: "ERR_LOCKSTEP_DEADLINE",
    });
  });

  test(`${driver}: it waits for what the replica lacks, and the event loop turns`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put(2);
    const reader = openFor(t, driver, scene.replica);
    for (let i = 0; i < 3; i++) {
      db.putUnacknowledged(100 + i); // in the primary only
      const position = indexPosition(scene.primary);
      let reached = false;
      const reaching = reader.reach(position, SOON).then((at) => {
        reached = true;
        return at;
      });
      await delay(30);
      assert.equal(reached, false);
      const before = count(reader);
      db.hub.gate();
      assert.equal(await reaching, position);
      assert.equal(count(reader), before + 1);
    }
    reader.close();
    db.close();
  });

  test(`${driver}: many wait at once, each for its own`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open({ durability: "barrier" });
    db.put(2);
    await db.hub.replication.durable();
    const reader = openFor(t, driver, scene.replica);
    const order: number[] = [];
    const all = Array.from({ length: 20 }, (_, i) => {
      db.put(1);
      return reader.reach(indexPosition(scene.primary), SOON).then(() => order.push(i));
    });
    await db.hub.replication.durable();
    await Promise.all(all);
    assert.deepEqual(order, [...order.keys()]);
    reader.close();
    db.close();
  });

  test(`${driver}: a transaction or an iterator that is open sees what it saw, so it is waited for`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put(3);
    const reader = openFor(t, driver, scene.replica);
    reader.exec("BEGIN");
    const before = count(reader);
    db.put(1);
    const position = await db.hub.replication.durable();
    await assert.rejects(reader.reach(position, NEVER), (error: Error & { code: string }) => {
      assert.equal(error.code, "ERR_LOCKSTEP_DEADLINE");
      assert.match(error.message, /a transaction or an iterator is open on this connection/);
      return true;
    });
    assert.equal(count(reader), before);
    const reaching = reader.reach(position, SOON);
    reader.exec("COMMIT");
    await reaching;
    assert.equal(count(reader), before + 1);

    const rows = reader.prepare("SELECT n FROM t").iterate() as IterableIterator<unknown>;
    rows.next();
    await assert.rejects(reader.reach(position, NEVER), { code: "ERR_LOCKSTEP_DEADLINE" });
    rows.return?.();
    await reader.reach(position, SOON);
    reader.close();
    db.close();
  });

  test(`${driver}: what cannot be reached: in time, refused, aborted, shown to be apart`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put(3);
    const early = await db.hub.replication.durable();
    db.put(1);
    const now = await db.hub.replication.durable();
    const reader = openFor(t, driver, scene.replica);
    const code = (name: string) => ({ code: `ERR_LOCKSTEP_${name}` });
    await assert.rejects(reader.reach(further(now, 1), NEVER), code("DEADLINE"));
    await assert.rejects(
      reader.reach("1/0123456789abcdef/3/0123456789abcdef", NEVER),
      code("DEADLINE"),
    );
    for (const wrong of ["", "1/2/3/4", `${now} `, "latest"]) {
      await assert.rejects(reader.reach(wrong), code("BAD_OPTION"));
    }
    for (const timeout of [-1, Number.NaN, "1" as unknown as number]) {
      await assert.rejects(reader.reach(now, { timeout }), code("BAD_OPTION"));
    }
    for (const apart of [early, now].map(otherSums)) {
      await assert.rejects(reader.reach(apart, SOON), code("DIVERGED"));
    }
    const controller = new AbortController();
    const aborted = reader.reach(further(now, 1), { signal: controller.signal });
    controller.abort(new Error("enough"));
    await assert.rejects(aborted, /enough/);
    await assert.rejects(reader.reach(now, { signal: controller.signal }), /enough/);
    const closed = reader.reach(further(now, 1));
    reader.close();
    await assert.rejects(closed, /not open/);
    assert.equal(reader.position, null);
    await assert.rejects(reader.reach(now), /not open/);
    if (driver === "node:sqlite") {
      using again = openReplica(scene.replica); // closed at the end of the block
      await again.reach(now, SOON);
      again.close();
      again.open();
      await again.reach(now, SOON);
    }
    db.close();
  });
}

test("a disk that fails when the time is up: the caller is told, and nothing is thrown out of a timer", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(1));
  const reader = openFor(t, "node:sqlite", scene.replica);
  await turn(); // from here on timers are next, and only then what else looks
  const reaching = reader.reach(further(reader.position as string, 1), { timeout: 0 });
  t.mock.method(fs, "readSync", () => {
    throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
  });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  await assert.rejects(reaching, (error: LockstepError) => {
    assert.deepEqual([error.code, (error.cause as Fault).code], ["ERR_LOCKSTEP_DEADLINE", "EIO"]);
    assert.match(error.what, /not proven just now/);
    return true;
  });
});

test("another process reads its own writes", async (t) => {
  const scene = Scene.make(t);
  const db = scene.open({ checkpointBytes: 100_000 });
  db.put(1);
  const reader = new Program(t, scene.replica, { openReplica: true });
  for (let i = 0; i < 30; i++) {
    db.put(1, 3000);
    await reader.sql(`REACH ${await db.hub.replication.durable()}`);
    const [row] = await reader.sql("SELECT count(*) AS n FROM t");
    assert.equal(row?.["n"], scene.acknowledged.size);
  }
  await reader.end();
  db.close();
});

test("after a promotion: what the replica has left behind is not reached, what it took along is", async (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const old = scene.open();
  old.put(3);
  const before = await old.hub.replication.durable();
  const crashed = Scene.swapped(t, scene.crashImage());
  old.put(2);
  const lost = await old.hub.replication.durable(); // of a branch that the image does not have
  old.close();
  const [, other] = crashed.replicas as [string, string];

  // The log goes on from where it was, in the same generation, on the new timeline.
  const db = crashed.open({ replicas: [other], checkpointBytes: 40_000 });
  const reader = openFor(t, "node:sqlite", other);
  await reader.reach(before, SOON);
  for (let i = 0; i < 40; i++) {
    db.put(1);
    const position = await db.hub.replication.durable();
    await reader.reach(position, SOON);
  }
  assert.equal(parsePosition(reader.position as string)?.timeline, 2);
  await reader.reach(before, SOON);
  await assert.rejects(reader.reach(lost, NEVER), {
    code: /ERR_LOCKSTEP_(DEADLINE|DIVERGED)/,
  });
  reader.close();
  db.close();
});

test("after a restore: what the replica held before it is reached, in the log that was left as well", async (t) => {
  const scene = Scene.make(t);
  const old = scene.open();
  old.put(3);
  const before = await old.hub.replication.durable();
  old.put(2);
  const crashed = scene.crashImage();
  old.close();
  await restore(crashed.replica, crashed.primary, { force: true });

  const db = crashed.open({ checkpointBytes: 40_000 });
  const reader = openFor(t, "node:sqlite", crashed.replica);
  db.put(40);
  await reader.reach(await db.hub.replication.durable(), SOON);
  assert.equal(parsePosition(reader.position as string)?.timeline, 2);
  await reader.reach(before, SOON);
  reader.close();
  db.close();
});

test("a replica that is left behind is reached when it has come back, by a reader that stayed", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open();
  const [, two] = trio.replicas;
  await trio.put(db, 3);
  const reader = openFor(t, "node:sqlite", two);
  await reader.reach(await db.replication.durable(), SOON);
  trio.pullOut("two");
  await trio.put(db, 5);
  const position = await db.replication.durable();
  await assert.rejects(reader.reach(position, NEVER), { code: "ERR_LOCKSTEP_REPLICA_GONE" });
  trio.putBack("two");
  const reaching = reader.reach(position);
  await trio.untilRejoined(db, two);
  await reaching;
  await reader.reach(await db.replication.durable(), SOON);
  assert.ok(count(reader) >= 11);
  reader.close();
  trio.closeAndCompare(db);
});

test("a file that was replaced is told, however far the record beside it is", async (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(3);
  const reader = openFor(t, "node:sqlite", scene.replica);
  const position = await db.hub.replication.durable();
  const waiting = reader.reach(further(position, 1), SOON);
  fs.copyFileSync(scene.replica, `${scene.replica}-other`);
  fs.renameSync(`${scene.replica}-other`, scene.replica);
  const gone = { code: "ERR_LOCKSTEP_REPLICA_GONE" };
  await Promise.all([
    assert.rejects(waiting, gone),
    assert.rejects(reader.reach(position, SOON), gone),
  ]);
  assert.equal(reader.position, null);
  assert.equal(count(reader), 3, "it reads what it opened");
  reader.close();
  assert.throws(() => db.abandon(), gone);
});

test("an older file beneath a newer record proves nothing", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const older = path.join(scratch(t), "older");
  copyDirectory(scene.replica, older);
  let position = "";
  const db = scene.open();
  db.put(1);
  position = await db.hub.replication.durable();
  db.close();
  fs.copyFileSync(older, scene.replica);
  const reader = openFor(t, "node:sqlite", scene.replica);
  assert.equal(count(reader), 3);
  assert.equal(reader.position, null);
  await assert.rejects(reader.reach(position, NEVER), { code: "ERR_LOCKSTEP_DEADLINE" });
});

test("what is no replica is refused, and nothing is left beside it", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(1));
  const directory = path.dirname(scene.replica);
  const names = fs.readdirSync(directory);
  const missing = path.join(directory, "missing.db");
  const alone = path.join(scratch(t), "alone.db");
  fs.copyFileSync(scene.replica, alone);
  for (const open of [openReplica, openBetter]) {
    assert.throws(() => open(missing), { code: "ERR_LOCKSTEP_NOT_A_DATABASE" });
    assert.throws(() => open(alone), { code: "ERR_LOCKSTEP_REPLICA_UNKNOWN" });
  }
  assert.deepEqual(fs.readdirSync(directory), names);
  fs.symlinkSync("nowhere", `${scene.replica}-shm`); // SQLite's index cannot be made
  for (const open of [openReplica, openBetter]) {
    assert.throws(() => open(scene.replica), { code: "ERR_LOCKSTEP_UNREADABLE" });
  }
});

test("two SQLite libraries in one process: the other one is refused", (t) => {
  for (const driver of DRIVERS) {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put(1);
    const other = driver === "node:sqlite" ? openBetter : openReplica;
    assert.throws(() => other(scene.replica), { code: "ERR_LOCKSTEP_LOCKED" });
    db.put(1);
    db.close();
  }
});

test("opened and closed over and over it leaves one descriptor, and no watch", {
  skip: LINUX_ONLY,
}, async (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  db.put(2);
  const now = await db.hub.replication.durable();
  const descriptors = (): number => fs.readdirSync("/proc/self/fd").length;
  const round = async (): Promise<void> => {
    const reader = openReplica(scene.replica);
    await reader.reach(now, SOON);
    await assert.rejects(reader.reach(further(now, 1), { timeout: 5 }));
    reader.close();
  };
  await round();
  const before = descriptors();
  for (let i = 0; i < 20; i++) await round();
  assert.equal(descriptors(), before);
  db.close();
});

for (const driver of DRIVERS) {
  test(`${driver}: opened and closed in the process that mirrors, it takes no lock away`, async (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open();
    db.put(3);
    for (let i = 0; i < 3; i++) {
      const reader = openFor(t, driver, scene.replica);
      await reader.reach(await db.hub.replication.durable(), SOON);
      await assert.rejects(reader.reach("1/0123456789abcdef/3/0123456789abcdef", NEVER));
      reader.close();
    }
    const other = new Program(t, scene.replica);
    const [row] = await other.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    assert.equal(row?.["busy"], 1, "the guard is in its way");
    await other.end(); // its last close would remove the log, if nobody held the file
    const record = new Program(t, `${scene.replica}-lockstep`);
    const { error } = await record.try("SELECT * FROM state");
    assert.match(String(error), /locked/);
    await record.kill();
    db.put(1);
    db.close();
  });
}
