/** Other programs write, and `lockstep replicate` follows: every commit reaches the replica, nobody is in the way. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { Hub } from "../../src/gate/hub.ts";
import { replicate } from "../../src/replicate.ts";
import { contentsOf } from "../scratch.ts";
import { assertAtRest, runSql } from "../support/files.ts";
import { Program } from "../support/program.ts";
import { seed } from "../support/seed.ts";
import { assertAllThere, missing, World } from "./world.ts";

type Given = Parameters<Hub["disconnect"]>;

const skip = missing() ?? false;

test(`Python programs write while it begins, follows and stops (SEED=${seed})`, {
  skip,
}, async (t) => {
  const world = new World(t);
  const names = ["a", "b", "c"];
  const writers = names.map((name, i) =>
    world.writer(name, { seed: seed + i, seconds: 5, pauseMs: 3 }),
  );
  for (const writer of writers) await writer.ready();
  const follower = world.follow("--checkpoint-bytes", String(1 << 20));
  await follower.inStep();
  const written: Record<string, number> = {};
  for (const writer of writers) {
    const { last, locked } = await writer.written();
    assert.equal(locked, 0, `writer ${writer.name} never waited five seconds`);
    written[writer.name] = last;
  }
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, written);
});

test("the checker sees a row that is missing", (t) => {
  const world = new World(t);
  world.put();
  world.put();
  assertAllThere(world.primary, { test: 2 });
  assert.throws(() => assertAllThere(world.primary, { test: 3 }), /AssertionError|Expected/);
});

test("the shell writes, vacuums, and checkpoints in every mode", async (t) => {
  const world = new World(t);
  const follower = world.follow();
  await follower.inStep();
  const shell = (sql: string): string => {
    const args = ["-cmd", ".timeout 5000", world.primary, sql];
    const { status, stdout, stderr } = spawnSync("sqlite3", args, { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  for (const mode of ["PASSIVE", "FULL", "RESTART", "TRUNCATE"]) {
    for (let i = 0; i < 20; i++) world.put();
    // All but the passive one keep writers out while they wait for us.
    const [busy, log, folded] = shell(`PRAGMA wal_checkpoint(${mode})`).trim().split("|");
    if (mode !== "PASSIVE") assert.deepEqual([busy, folded], ["0", log], mode);
    shell("DELETE FROM entry WHERE n % 10 = 3; VACUUM");
    shell("CREATE TABLE IF NOT EXISTS other(x); INSERT INTO other VALUES(1)");
  }
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
});

test("durable() waits for what any program committed before", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica]);
  const program = new Program(t, world.primary);
  const reader = new DatabaseSync(world.replica, { readOnly: true });
  const count = reader.prepare("SELECT count(*) AS n FROM entry");
  for (let n = 1; n <= 50; n++) {
    await program.sql(`INSERT INTO entry(writer, n) VALUES('program', ${n})`);
    await follower.replication.durable();
    assert.equal(count.get()?.["n"], n);
  }
  while (follower.status.lagMs > 0) await new Promise((resolve) => setImmediate(resolve));
  const { commits, isWoken, replicas } = follower.status;
  assert.deepEqual([isWoken, replicas[0]?.lag], [true, 0]);
  assert.ok(commits >= 1 && commits <= 50, `${commits} commits`);
  reader.close();
  await program.end();
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
});

test("a program that keeps a transaction open holds up nothing but the checkpoint", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica], { checkpointBytes: 100_000 });
  const postponed = new Promise((resolve) =>
    follower.replication.once("checkpoint-postponed", resolve),
  );
  const folded = (): Promise<unknown> =>
    new Promise((resolve) => follower.replication.once("checkpoint", () => resolve(null)));
  const reader = new Program(t, world.primary);
  world.put();
  await reader.sql("BEGIN");
  await reader.sql("SELECT count(*) FROM entry");
  for (let i = 0; i < 200; i++) world.put();
  await postponed;
  await follower.replication.durable();
  const done = folded();
  await reader.end();
  for (let i = 0; i < 100; i++) world.put();
  await done;
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 301 });
});

test("a program stays open: its log and its locks are as they were", async (t) => {
  const world = new World(t);
  const program = new Program(t, world.primary);
  await program.sql("INSERT INTO entry(writer, n) VALUES('program', 1)");
  // In this process, too: nothing that is closed may drop its locks.
  const own = new DatabaseSync(world.primary);
  own.exec("PRAGMA wal_autocheckpoint=0");
  const follower = await replicate(world.primary, [world.replica]);
  own.exec("BEGIN IMMEDIATE; INSERT INTO entry(writer, n) VALUES('own', 1)");
  await follower.stop();
  assert.match(String((await program.try("BEGIN IMMEDIATE")).error), /locked/);
  own.exec("COMMIT");
  await program.sql("INSERT INTO entry(writer, n) VALUES('program', 2)");
  const { n } = own.prepare("SELECT count(*) AS n FROM entry").get() as { n: number };
  assert.equal(n, 3);
  own.close();
  await program.end();
  const again = world.follow("--once");
  await again.inStep();
  assert.equal(await again.status(), 0);
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { program: 2, own: 1 });
});

test("stopped twice at the same time: one stop, and the status says that it is closed", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica]);
  world.put();
  const both = [follower.stop(), follower.stop()];
  await Promise.all(both);
  await follower.stop();
  await follower.ended;
  const { failure, replicas } = follower.replication.status;
  assert.deepEqual([failure, replicas.map(({ state }) => state)], [null, ["closed"]]);
  await follower.replication.durable();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 1 });
});

test("it fails while it is stopped: both tell it, and it lets go once", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica]);
  const letGo: Hub[] = [];
  const disconnect = Hub.prototype.disconnect;
  t.mock.method(Hub.prototype, "disconnect", function counted(this: Hub, ...given: Given) {
    letGo.push(this);
    disconnect.apply(this, given);
  });
  fs.renameSync(world.replica, `${world.replica}-away`);
  world.put();
  const code = "ERR_LOCKSTEP_REPLICA_GONE";
  const stopped = assert.rejects(follower.stop(), { code });
  await assert.rejects(follower.ended, { code });
  await stopped;
  await assert.rejects(follower.stop(), { code });
  assert.deepEqual([letGo.length, follower.replication.status.failure?.code], [1, code]);
  assert.throws(() => letGo[0]?.disconnect(null, () => {}), /nobody lets go who does not hold/);
  fs.renameSync(`${world.replica}-away`, world.replica);
  const again = await replicate(world.primary, [world.replica]);
  await again.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 1 });
});

test("what is not in WAL mode is refused, and nothing is changed", async (t) => {
  const world = new World(t, { mode: "DELETE" });
  const before = contentsOf(`${world.root}/main`);
  const follower = world.follow();
  const { error } = await follower.says();
  assert.equal(error.code, "ERR_LOCKSTEP_NOT_WAL");
  assert.match(error.next, /sqlite3 '.*app\.db' 'PRAGMA journal_mode=WAL'$/);
  assert.equal(await follower.status(), 1);
  assert.deepEqual(contentsOf(`${world.root}/main`), before);
  assert.deepEqual(fs.readdirSync(`${world.root}/replica`), []);
  const [command] = /sqlite3 .*/.exec(error.next) as RegExpExecArray;
  assert.equal(spawnSync("sh", ["-c", command], { encoding: "utf8" }).stdout, "wal\n");
  const again = world.follow("--once");
  await again.inStep();
  assert.equal(await again.status(), 0);
});

test("a database that is not there is not made", async (t) => {
  const world = new World(t);
  fs.rmSync(world.primary);
  const follower = world.follow("--once");
  assert.equal((await follower.says()).error.code, "ERR_LOCKSTEP_NOT_A_DATABASE");
  assert.deepEqual(fs.readdirSync(`${world.root}/main`), []);
});

test("two of it: the second is refused", async (t) => {
  const world = new World(t);
  const follower = world.follow();
  await follower.inStep();
  const second = world.follow();
  assert.equal((await second.says()).error.code, "ERR_LOCKSTEP_LOCKED");
  assert.equal(await second.status(), 1);
  await follower.stop("SIGINT");
  const here = await replicate(world.primary, [world.replica]);
  await assert.rejects(replicate(world.primary, [world.replica]), { code: "ERR_LOCKSTEP_LOCKED" });
  await here.stop();
});

test("the primary is replaced by another file: it ends, and nothing reaches the replica", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica]);
  const other = `${world.root}/other.db`;
  runSql(other, "PRAGMA journal_mode=WAL", "CREATE TABLE entry(x)");
  fs.renameSync(other, world.primary);
  await assert.rejects(follower.ended, { code: /PRIMARY_(IO|CHANGED)$/ });
  await follower.stop();
  await assert.rejects(replicate(world.primary, [world.replica]), {
    code: "ERR_LOCKSTEP_DIVERGED",
  });
});

test("a replica that fails: stop ends it, degrade goes on and brings it back", async (t) => {
  const world = new World(t);
  const other = `${world.root}/other.db`;
  const follower = await replicate(world.primary, [world.replica, other], {
    onReplicaFailure: "degrade",
  });
  const degraded = new Promise((resolve) => follower.replication.once("degraded", resolve));
  const rejoined = new Promise((resolve) => follower.replication.once("rejoined", resolve));
  fs.renameSync(other, `${other}-away`);
  world.put();
  await degraded;
  fs.renameSync(`${other}-away`, other);
  world.put();
  await rejoined;
  await follower.stop();
  assertAtRest(world.primary, [world.replica, other]);

  const strict = await replicate(world.primary, [world.replica, other]);
  fs.renameSync(other, `${other}-away`);
  world.put();
  await assert.rejects(strict.ended, { code: "ERR_LOCKSTEP_REPLICA_GONE" });
  fs.renameSync(`${other}-away`, other);
  const last = await replicate(world.primary, [world.replica, other]);
  await last.stop();
  assertAtRest(world.primary, [world.replica, other]);
  runSql(world.primary, "SELECT 1");
});
