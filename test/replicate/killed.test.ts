/**
 * The follower is killed at any moment, and begins again: no frame is lost, whatever the others did to the log
 * meanwhile. If the log is still of the same generation that reads no file whole.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Progress } from "../../src/options.ts";
import { replicate } from "../../src/replicate.ts";
import { Random } from "../crash/random.ts";
import { assertAtRest, copyDirectory, runSql } from "../support/files.ts";
import { Program } from "../support/program.ts";
import { runs, seed } from "../support/seed.ts";
import { assertAllThere, missing, World } from "./world.ts";

const skip = missing() ?? false;

/** Begins again and stops; what work it reported on whole files. */
async function again(world: World): Promise<Progress["phase"][]> {
  const phases = new Set<Progress["phase"]>();
  const follower = await replicate(world.primary, [world.replica], {
    onProgress: ({ phase }) => phases.add(phase),
  });
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
  return [...phases];
}

test(`killed at random moments while Python programs write (SEED=${seed})`, { skip }, async (t) => {
  const random = new Random(seed);
  const world = new World(t);
  const kills = runs(4);
  const names = ["a", "b", "c"];
  const writers = names.map((name, i) =>
    world.writer(name, { seed: seed + i, seconds: 2 * kills, pauseMs: 4 }),
  );
  for (const writer of writers) await writer.ready();
  for (let i = 0; i < kills; i++) {
    const follower = world.follow("--checkpoint-bytes", String(1 << 19));
    if (random.oneIn(4)) await delay(random.below(600));
    else {
      await follower.inStep();
      await delay(random.below(1000));
    }
    await follower.kill();
    if (random.oneIn(2)) await delay(random.below(300));
  }
  const last = world.follow();
  const written: Record<string, number> = {};
  for (const writer of writers) {
    const { last: rows, locked } = await writer.written();
    assert.equal(locked, 0, `writer ${writer.name} never waited five seconds`);
    written[writer.name] = rows;
  }
  await last.inStep();
  await last.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, written);
});

test("the others fold into the file, and the log goes on: nothing is read whole", async (t) => {
  const world = new World(t);
  const program = new Program(t, world.primary);
  await program.sql("PRAGMA wal_autocheckpoint=0");
  const follower = world.follow("--hold-log-ms", "0"); // a deputy might be before all that is in the log
  await follower.inStep();
  for (let i = 0; i < 20; i++) world.put();
  const keeper = new Program(t, world.primary); // as long as it reads the log cannot begin anew
  await keeper.sql("BEGIN");
  await keeper.sql("SELECT count(*) FROM entry");
  for (let i = 0; i < 20; i++) world.put();
  await follower.kill();
  const before = fs.statSync(world.primary, { bigint: true }).mtimeNs;
  await program.sql("PRAGMA wal_checkpoint"); // up to where the other reads
  const after = fs.statSync(world.primary, { bigint: true }).mtimeNs;
  assert.notEqual(after, before, "the file was written");
  for (let i = 0; i < 20; i++) world.put();
  const next = world.follow(); // beside them, and is killed again
  await next.inStep();
  for (let i = 0; i < 5; i++) world.put();
  await next.kill();
  const phases = new Set<string>();
  const last = await replicate(world.primary, [world.replica], {
    onProgress: ({ phase }) => phases.add(phase),
  });
  assert.deepEqual([...phases], []);
  await keeper.end();
  await program.end();
  await last.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 65 });
});

test("the log begins anew while nobody follows: the pages that differ are written", async (t) => {
  const world = new World(t);
  const follower = world.follow("--hold-log-ms", "0");
  await follower.inStep();
  for (let i = 0; i < 20; i++) world.put();
  await follower.kill();
  world.put(); // the last to close: folds the log, and removes it
  assert.equal(fs.existsSync(`${world.primary}-wal`), false);
  world.put();
  const program = new Program(t, world.primary);
  await program.sql("INSERT INTO entry(writer, n) VALUES('program', 1)"); // and this leaves one
  const phases = new Set<string>();
  const next = await replicate(world.primary, [world.replica], {
    onProgress: ({ phase }) => phases.add(phase),
  });
  assert.deepEqual([...phases], ["delta"]);
  await program.sql("INSERT INTO entry(writer, n) VALUES('program', 2)");
  await program.end();
  await next.stop();
  assertAtRest(world.primary, [world.replica]);
  assertAllThere(world.replica, { test: 22, program: 2 });
  assert.deepEqual(await again(world), []);
});

test("stopped in order, and nobody has written: nothing is read whole", async (t) => {
  const world = new World(t);
  await (await replicate(world.primary, [world.replica])).stop();
  assert.deepEqual(await again(world), []);
  world.put(); // and its close folds it
  assert.deepEqual(await again(world), ["delta"]);
});

test("an older state that was copied over the primary does not reach the replica", async (t) => {
  const world = new World(t);
  await (await replicate(world.primary, [world.replica])).stop();
  const old = `${world.root}/old.db`;
  copyDirectory(world.primary, old);
  const follower = world.follow();
  await follower.inStep();
  for (let i = 0; i < 50; i++) world.put();
  await follower.stop();
  for (const inPlace of [true, false]) {
    if (inPlace) fs.writeFileSync(world.primary, fs.readFileSync(old));
    else {
      fs.rmSync(world.primary);
      copyDirectory(old, world.primary);
    }
    const before = fs.readFileSync(world.replica);
    await assert.rejects(replicate(world.primary, [world.replica]), {
      code: /ERR_LOCKSTEP_(DIVERGED|PRIMARY_STALE)/,
    });
    assert.ok(before.equals(fs.readFileSync(world.replica)));
  }
});

test("a replica that another program wrote is refused", async (t) => {
  const world = new World(t);
  await (await replicate(world.primary, [world.replica])).stop();
  runSql(world.replica, "INSERT INTO entry(writer, n) VALUES('replica', 1)");
  world.put();
  await assert.rejects(replicate(world.primary, [world.replica]), {
    code: "ERR_LOCKSTEP_DIVERGED",
  });
});
