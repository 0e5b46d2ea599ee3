/**
 * The follower is killed while others go on writing: its deputy holds the log, the next follower reads no file whole.
 * The deputy itself may be killed or stopped, and goes when it is not needed.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { loadDriver } from "../../src/driver.ts";
import { DeputyChild, type Wish } from "../../src/gate/deputy-child.ts";
import { DatabaseSync } from "../../src/index.ts";
import { isAlive } from "../../src/lineage/alive.ts";
import { sidecarPath } from "../../src/lineage/sidecar.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { type Follower, replicate } from "../../src/replicate.ts";
import { SharedIndex } from "../../src/wal/shared-index.ts";
import { main } from "../cli/lockstep.ts";
import { Random } from "../crash/random.ts";
import { assertAtRest, runSql } from "../support/files.ts";
import { Program } from "../support/program.ts";
import { runs, seed } from "../support/seed.ts";
import { assertAllThere, missing, World } from "./world.ts";

const skip = missing() ?? false;

/** Does it run? One that waits for its parent to take note of its end does not. */
function runsStill(pid: number): boolean {
  if (!isAlive(pid)) return false;
  try {
    return !/\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return isAlive(pid);
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(5);
}

function deputyOf(follower: Follower): number {
  const { deputy } = follower.status;
  assert.ok(deputy !== null, "there is a deputy");
  return deputy;
}

test(`killed at random moments while Python programs write: nothing is read whole (SEED=${seed})`, {
  skip,
}, async (t) => {
  const random = new Random(seed);
  const world = new World(t);
  const kills = runs(4);
  const writers = ["a", "b", "c"].map((name, i) =>
    world.writer(name, { seed: seed + i, seconds: 2 * kills, pauseMs: 4 }),
  );
  for (const writer of writers) await writer.ready();
  const first = world.follow("--checkpoint-bytes", String(1 << 19));
  await first.inStep(); // it makes the replica
  await delay(random.below(1000));
  await first.kill();
  for (let i = 0; i < kills; i++) {
    const follower = world.follow("--checkpoint-bytes", String(1 << random.between(18, 20)));
    if (random.oneIn(4)) await delay(random.below(800));
    else {
      const { work, deputy } = await follower.inStep();
      assert.deepEqual(work, [], `start ${i}`);
      assert.ok(deputy !== null, `start ${i} has a deputy`);
      await delay(random.below(1000));
    }
    await follower.kill();
    if (random.oneIn(2)) await delay(random.below(500));
  }
  const last = world.follow();
  const { work, deputy } = await last.inStep();
  assert.deepEqual(work, []);
  const written: Record<string, number> = {};
  for (const writer of writers) {
    const { last: rows, locked } = await writer.written();
    assert.equal(locked, 0, `writer ${writer.name} never waited five seconds`);
    written[writer.name] = rows;
  }
  await last.stop();
  assert.equal(runsStill(deputy), false, "who stops in order leaves no deputy");
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, written);
});

test("the others close the database while the deputy holds on: the log stays, and is gone on with", async (t) => {
  const world = new World(t);
  const follower = world.follow();
  const { deputy } = await follower.inStep();
  for (let i = 0; i < 20; i++) world.put();
  await follower.kill();
  for (let i = 0; i < 20; i++) world.put(); // each is the last to close: it would fold the log, and remove it
  assert.ok(fs.existsSync(`${world.primary}-wal`));
  assert.ok(runsStill(deputy));
  const next = world.follow();
  const { work, deputy: another } = await next.inStep();
  assert.deepEqual(work, []);
  assert.equal(runsStill(deputy), false, "it has let go when the next one is in step");
  assert.notEqual(another, deputy);
  await next.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 40 });
});

test("nobody follows: it lets go when its time is over, and leaves nothing", async (t) => {
  const world = new World(t);
  const program = new Program(t, world.primary);
  await program.sql("INSERT INTO entry(writer, n) VALUES('program', 1)");
  const follower = world.follow("--hold-log-ms", "1500");
  const { deputy } = await follower.inStep();
  await follower.kill();
  assert.ok(runsStill(deputy));
  await until(() => !runsStill(deputy));
  await program.sql("INSERT INTO entry(writer, n) VALUES('program', 2)");
  const logs = (): string[] =>
    fs.readdirSync(`${world.root}/main`).filter((name) => /-(wal|shm)$/.test(name));
  assert.deepEqual(logs().sort(), ["app.db-shm", "app.db-wal"]);
  await program.end(); // nobody is left who would keep it from removing its log
  assert.deepEqual(logs(), []);
  const next = world.follow("--once");
  const { work, deputy: none } = await next.inStep();
  assert.deepEqual([work, none], [["delta"], null]);
  assert.equal(await next.status(), 0);
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { program: 2 });
});

test("an application opens the primary with its replicas: the deputy lets go", async (t) => {
  const world = new World(t);
  const follower = world.follow();
  const { deputy } = await follower.inStep();
  for (let i = 0; i < 5; i++) world.put();
  await follower.kill();
  const db = new DatabaseSync(world.primary, { replicas: [world.replica] });
  await until(() => !runsStill(deputy));
  db.exec("INSERT INTO entry(writer, n) VALUES('application', 1)");
  db.close();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 5, application: 1 });
});

test("a deputy that is killed is replaced", async (t) => {
  const world = new World(t);
  const follower = world.follow();
  const { deputy } = await follower.inStep();
  process.kill(deputy, "SIGKILL");
  for (let i = 0; i < 5; i++) world.put();
  await until(() => ![deputy, null].includes(recordedBy(world)));
  await follower.kill();
  for (let i = 0; i < 5; i++) world.put();
  const next = world.follow();
  assert.deepEqual((await next.inStep()).work, []);
  await next.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 10 });
});

/** The deputy that the primary's record names. */
function recordedBy({ primary }: World): number | null {
  try {
    const { deputy } = readSidecar(loadDriver("node:sqlite"), primary)?.state ?? {};
    return typeof deputy === "string" ? Number.parseInt(deputy, 10) : null;
  } catch {
    return null; // it is being written
  }
}

test("the record cannot be written for a moment: the follower goes on, and puts its deputy there later", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica]);
  const deputy = deputyOf(follower);
  const record = sidecarPath(world.primary);
  fs.renameSync(record, `${record}-away`);
  process.kill(deputy, "SIGKILL");
  await until(() => ![deputy, null].includes(follower.status.deputy));
  fs.renameSync(`${record}-away`, record);
  await until(() => recordedBy(world) === follower.status.deputy);
  world.put();
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 1 });
});

test("a start that fails leaves the log held for the next", async (t) => {
  const world = new World(t);
  const follower = world.follow();
  await follower.inStep();
  await follower.kill();
  world.put();
  const other = `${world.root}/other.db`;
  fs.mkdirSync(`${other}-lockstep-new/x`, { recursive: true }); // it cannot be made
  await assert.rejects(replicate(world.primary, [world.replica, other]));
  for (let i = 0; i < 5; i++) world.put(); // each is the last to close
  const phases: string[] = [];
  const next = await replicate(world.primary, [world.replica], {
    onProgress: ({ phase }) => phases.push(phase),
  });
  assert.deepEqual(phases, []);
  await next.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 6 });
});

/** A follower that was killed, and its deputy, which holds on. */
async function heldOn(t: TestContext): Promise<{ deputy: number; record: string }> {
  const world = new World(t);
  const follower = world.follow("--hold-log-ms", "600000");
  const { deputy } = await follower.inStep();
  world.put();
  await follower.kill();
  t.after(() => runsStill(deputy) && process.kill(deputy, "SIGKILL"));
  return { deputy, record: sidecarPath(world.primary) };
}

test("it lets go when the record names another of the same pid, also where its times say nothing", async (t) => {
  const { deputy, record } = await heldOn(t);
  const long = new Date("2020-01-01");
  fs.utimesSync(record, long, long);
  await delay(100); // it looks meanwhile, and may take it that nothing has changed since
  assert.ok(runsStill(deputy));
  fs.copyFileSync(record, `${record}-changed`);
  runSql(
    `${record}-changed`,
    `UPDATE state SET value = '"${deputy}-another"' WHERE key = 'deputy'`,
  );
  fs.utimesSync(`${record}-changed`, long, long);
  fs.renameSync(`${record}-changed`, record);
  await until(() => !runsStill(deputy));
});

test("it lets go when the record cannot be read any more", async (t) => {
  const { deputy, record } = await heldOn(t);
  fs.writeFileSync(record, Buffer.alloc(8192, "no record"));
  await until(() => !runsStill(deputy));
});

test("a deputy that is stopped holds up neither the checkpoint nor anybody who writes", async (t) => {
  const world = new World(t);
  const program = new Program(t, world.primary);
  const follower = await replicate(world.primary, [world.replica], { checkpointBytes: 100_000 });
  const deputy = deputyOf(follower);
  process.kill(deputy, "SIGSTOP");
  const folded = once(follower.replication, "checkpoint");
  for (let n = 1; n <= 100; n++) {
    await program.sql(
      `INSERT INTO entry(writer, n, data) VALUES('program', ${n}, randomblob(3000))`,
    );
  }
  await folded; // it would be postponed for ever
  await until(() => !runsStill(deputy));
  await until(() => follower.status.deputy !== null);
  assert.notEqual(deputyOf(follower), deputy);
  await program.end();
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { program: 100 });
});

test("stopped in order while its deputy is stopped: it does not wait for long", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica]);
  const deputy = deputyOf(follower);
  process.kill(deputy, "SIGSTOP");
  world.put();
  await follower.stop();
  assert.equal(runsStill(deputy), false);
  assertAtRest(world.primary, [world.replica]);
});

test("after a failure the deputy holds on, as after a kill", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica]);
  const deputy = deputyOf(follower);
  fs.renameSync(world.replica, `${world.replica}-away`);
  world.put();
  await assert.rejects(follower.ended, { code: "ERR_LOCKSTEP_REPLICA_GONE" });
  fs.renameSync(`${world.replica}-away`, world.replica);
  world.put();
  assert.ok(runsStill(deputy));
  const phases: string[] = [];
  const next = await replicate(world.primary, [world.replica], {
    onProgress: ({ phase }) => phases.push(phase),
  });
  assert.deepEqual(phases, []);
  assert.equal(runsStill(deputy), false);
  await next.stop();
  assertAtRest(world.primary, [world.replica]);
});

test("holdLogMs: 0 has none; a wrong one is refused before anything is opened", async (t) => {
  const world = new World(t);
  const follower = await replicate(world.primary, [world.replica], { holdLogMs: 0 });
  assert.equal(follower.status.deputy, null);
  await follower.stop();
  for (const holdLogMs of [-1, 1.5, 2 ** 31]) {
    await assert.rejects(replicate(world.primary, [world.replica], { holdLogMs }), {
      code: "ERR_LOCKSTEP_BAD_OPTION",
    });
  }
});

test("it keeps nothing open that the follower was started with", async (t) => {
  const world = new World(t);
  const args = ["--no-warnings", main, "replicate", "--json", world.primary, world.replica];
  const follower = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit", "pipe"] });
  t.after(() => follower.kill("SIGKILL"));
  const [said] = (await once(follower.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
  const { deputy } = JSON.parse(String(said).split("\n")[0] as string);
  follower.stdio[3]?.on("data", () => {});
  follower.kill("SIGKILL");
  await once(follower, "close"); // once nobody has an end of its pipes any more
  assert.ok(runsStill(deputy));
  const next = world.follow();
  await next.inStep();
  await next.stop();
});

test("it leaves a mark only for one that holds the log as well", async (t) => {
  const world = new World(t);
  const program = new Program(t, world.primary);
  await program.sql("PRAGMA wal_autocheckpoint=0");
  let n = 0;
  const put = () => program.sql(`INSERT INTO entry(writer, n) VALUES('program', ${++n})`);
  await put();
  const index = new SharedIndex(fs.openSync(`${world.primary}-shm`, "r")); // this process has no connection
  const read = (): SharedIndex => {
    assert.ok(index.read());
    return index;
  };
  const deputy = new DeputyChild({ primary: world.primary, holdMs: 0 });
  t.after(() => deputy.kill());
  let asked = 0;
  const moves = async (wish: Pick<Wish, "at" | "salt1" | "salt2" | "frames">): Promise<boolean> => {
    const { at, salt1, salt2, frames } = wish;
    deputy.say({ at, salt1, salt2, frames, n: ++asked });
    await until(() => deputy.answer() >> 1 === asked);
    return (deputy.answer() & 1) === 1;
  };
  const here = (at: Wish["at"]): Wish => {
    const { salt1, salt2, frames } = read();
    return { at, salt1, salt2, frames };
  };
  const generation = read().salt1;
  assert.equal(await moves(here("zero")), false, "not all is in the file");
  assert.equal(await moves({ ...here("end"), salt1: generation + 1 }), false, "another generation");
  assert.equal(await moves(here("end")), true);
  const recorded = here("zero");
  await put();
  await program.sql("PRAGMA wal_checkpoint");
  assert.equal(read().backfilled, recorded.frames, "nobody folds beyond its mark");
  assert.equal(await moves(recorded), false, "there is more than is on record");
  assert.equal(await moves(here("end")), true);
  await program.sql("PRAGMA wal_checkpoint");
  assert.equal(read().backfilled, index.frames);
  assert.equal(await moves(here("end")), false, "all is in the file: it would be at mark 0");
  await put();
  assert.equal(read().salt1, generation, "the log goes on");
  await moves(here("end"));
  await program.sql("PRAGMA wal_checkpoint");
  assert.equal(await moves({ ...here("zero"), frames: index.frames - 1 }), false);
  assert.equal(await moves(here("zero")), true);
  await put();
  assert.notEqual(read().salt1, generation, "the log has begun anew");
  await program.sql("PRAGMA wal_checkpoint");
  assert.equal(read().backfilled, 0, "and nobody folds it");
  deputy.say({ end: true });
  await deputy.ended();
  deputy.leave();
  await program.sql("PRAGMA wal_checkpoint");
  assert.equal(read().backfilled, index.frames);
  await program.end();
});
