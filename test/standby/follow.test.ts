/**
 * A standby follows a stream: what it holds is what the primary had committed, at every instant, and at the end the
 * files are equal byte for byte.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { openReplica } from "../../src/index.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { type FollowStatus, follow } from "../../src/standby/follow.ts";
import { Archive } from "../../src/stream/archive.ts";
import { Keys } from "../../src/stream/keys.ts";
import { until } from "../support/nats.ts";
import type { WriterOptions } from "../support/stream-writer.ts";
import { assertEqual, insert, type World, world } from "./world.ts";

/** Follows until the copy has reached the position; what it came to. */
async function upTo(world: World, text: string, work: () => Promise<void> = async () => {}) {
  const stop = new AbortController();
  const seen: FollowStatus[] = [];
  const inStep = Promise.withResolvers<void>();
  const done = follow(world.log, world.dest, {
    signal: stop.signal,
    onInStep: () => inStep.resolve(),
    onStatus: (status) => seen.push(status),
  });
  done.catch(inStep.reject);
  await inStep.promise;
  await work();
  const replica = openReplica(world.dest);
  try {
    await replica.reach(text === "" ? formatPosition(world.writer.position) : text);
  } finally {
    replica.close();
  }
  stop.abort();
  return { followed: await done, seen };
}

describe("a standby", () => {
  for (const [name, options] of [
    ["plain", { compress: false }],
    ["in pieces", { maxFrames: 1 }],
    ["compressed and sealed", { keys: Keys.parse(`1:${"cd".repeat(32)}`, "a test") }],
  ] as [string, WriterOptions][]) {
    test(`is made from the snapshot and brought to the stream's end: ${name}`, async (t) => {
      const w = await world(t, options);
      for (let i = 0; i < 5; i++) await w.writer.run(insert(3));
      await w.writer.snapshot();
      await w.writer.run(insert(10));
      w.writer.checkpoint();
      await w.writer.run(insert(10));
      const keys = options.keys ?? null;
      const followed = await follow(w.log, w.dest, { once: true, keys });
      assert.equal(followed.position, formatPosition(w.writer.position));
      await assertEqual(w);
      // And on from where it stands.
      await w.writer.run("DELETE FROM t WHERE id % 2");
      w.writer.checkpoint();
      await w.writer.run("VACUUM");
      const again = await follow(w.log, w.dest, { once: true, keys });
      assert.equal(again.position, formatPosition(w.writer.position));
      await assertEqual(w);
    });
  }

  test("that is cut off does not say that it is in step, asks once at a time, and goes on", async (t) => {
    const w = await world(t);
    const ends = w.log.ends.bind(w.log);
    let [asked, isCutOff] = [0, false];
    const { promise: back, resolve: comeBack } = Promise.withResolvers<void>();
    t.mock.method(w.log, "ends", async () => {
      if (isCutOff) asked++;
      if (isCutOff) await back;
      return ends();
    });
    const stop = new AbortController();
    let told: FollowStatus | null = null;
    const behind = (): number | null | undefined => told?.behind;
    const done = follow(w.log, w.dest, {
      signal: stop.signal,
      onStatus: (status) => {
        told = status;
      },
    });
    await until(20_000, "the first status", () => behind() === 0);
    isCutOff = true;
    await until(30_000, "silence", () => behind() === null);
    assert.ok(asked <= 1, `${asked} questions at once`);
    isCutOff = false;
    comeBack();
    await until(20_000, "an answer", () => behind() === 0);
    stop.abort();
    await done;
  });

  test("is an ordinary replica: recorded, and read while it is written", async (t) => {
    const w = await world(t);
    const { seen } = await upTo(w, "", async () => {
      for (let i = 0; i < 20; i++) {
        await w.writer.run(insert(2));
        if (i % 7 === 6) w.writer.checkpoint();
      }
    });
    assert.ok(seen.length > 0);
    assert.equal(seen.at(-1)?.behind, 0);
    await assertEqual(w);
    const record = readSidecar(loadDriver("node:sqlite"), w.dest);
    assert.equal(record?.state.role, "replica");
    assert.equal(record?.state.stream, w.log.name);
    assert.deepEqual(
      record?.events.map(({ what }) => what),
      ["copied", "closed"],
    );
  });

  test("folds its log when that is long", async (t) => {
    const w = await world(t);
    for (let i = 0; i < 3; i++) await w.writer.run(insert(1, 4_000_000));
    const { size } = fs.statSync(`${w.dest.replace("standby", "main")}-wal`);
    assert.ok(size > 9 << 20);
    await follow(w.log, w.dest, { once: true });
    const record = readSidecar(loadDriver("node:sqlite"), w.dest);
    assert.deepEqual(record?.state.folded?.position, w.writer.position);
    w.writer.checkpoint();
    await w.writer.run(insert(1));
    await follow(w.log, w.dest, { once: true });
    await assertEqual(w);
  });

  test("whose log another program folded and removed is made anew only when told to", async (t) => {
    const w = await world(t);
    await w.writer.run(insert(5));
    await follow(w.log, w.dest, { once: true });
    const { position } = w.writer;
    await w.writer.run(insert(5));
    const other = new DatabaseSync(w.dest);
    other.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    other.close();
    await assert.rejects(follow(w.log, w.dest, { once: true }), {
      code: "ERR_LOCKSTEP_REPLICA_UNKNOWN", // nothing proves that it was all
    });
    const followed = await follow(w.log, w.dest, { once: true, force: true });
    assert.notEqual(followed.setAside, null);
    assert.notEqual(followed.position, formatPosition(position));
    await assertEqual(w);
  });

  test("begins at the newest snapshot that can be used", async (t) => {
    const w = await world(t);
    await w.writer.run(insert(5));
    await w.writer.snapshot();
    w.writer.checkpoint();
    await w.writer.run(insert(5));
    await w.writer.snapshot();
    const [, newest] = (await w.log.objects()).slice(-2);
    await follow(w.log, w.dest, { once: true });
    await assertEqual(w);
    // Without the newest one's image it takes the one before.
    await w.log.remove(newest as string);
    const other = { ...w, dest: `${w.dest}-2` };
    await follow(w.log, other.dest, { once: true });
    await assertEqual(other);
    for (const name of await w.log.objects()) await w.log.remove(name);
    await assert.rejects(follow(w.log, `${w.dest}-3`, { once: true }), {
      code: "ERR_LOCKSTEP_REPLICA_GONE",
      message: /no snapshot/,
    });
    assert.deepEqual(fs.existsSync(`${w.dest}-3`), false);
  });

  test("goes over promotions, and void ones", async (t) => {
    const w = await world(t);
    await w.writer.run(insert(1));
    await follow(w.log, w.dest, { once: true });
    w.writer.writer = "00000000000000b2";
    await w.writer.open("promoted", 2);
    await w.writer.run(insert(1));
    await follow(w.log, w.dest, { once: true });
    const record = readSidecar(loadDriver("node:sqlite"), w.dest);
    assert.equal(record?.state.timeline, 2);
    await assertEqual(w);
    w.writer.checkpoint();
    await w.writer.run(insert(1));
    const { followed } = await upTo(w, "");
    assert.equal(followed.timeline, 2);
    await assertEqual(w);
  });
});

describe("a standby is refused", () => {
  test("where something else stands", async (t) => {
    const w = await world(t);
    const db = new DatabaseSync(w.dest);
    db.exec("CREATE TABLE mine(x)");
    db.close();
    const before = fs.readFileSync(w.dest);
    await assert.rejects(follow(w.log, w.dest, { once: true }), {
      code: "ERR_LOCKSTEP_REPLICA_UNKNOWN",
    });
    assert.ok(fs.readFileSync(w.dest).equals(before));
    const { setAside } = await follow(w.log, w.dest, { once: true, force: true });
    assert.ok(fs.readFileSync(setAside as string).equals(before));
    await assertEqual(w);
  });

  test("if the stream no longer holds what follows", async (t) => {
    const w = await world(t);
    await w.writer.run(insert(1));
    await follow(w.log, w.dest, { once: true });
    await w.writer.run(insert(1));
    w.writer.checkpoint();
    await w.writer.run(insert(1));
    await w.writer.snapshot();
    const { last } = await w.log.ends();
    await w.log.purge(last - 1);
    await assert.rejects(follow(w.log, w.dest, { once: true }), {
      code: "ERR_LOCKSTEP_REPLICA_GONE",
      message: /no longer holds what follows.*lockstep follow --force/,
    });
    await follow(w.log, w.dest, { once: true, force: true });
    await assertEqual(w);
  });

  test("if the stream began anew without what leads there", async (t) => {
    const w = await world(t);
    await w.writer.run(insert(1));
    await follow(w.log, w.dest, { once: true });
    // Commits that the stream never saw.
    w.writer.db.exec(insert(3));
    w.writer.checkpoint();
    w.writer.db.exec(insert(3));
    await w.writer.beginAnew();
    await w.writer.run(insert(1));
    await assert.rejects(follow(w.log, w.dest, { once: true }), {
      code: "ERR_LOCKSTEP_REPLICA_GONE",
      message: /began anew/,
    });
    await follow(w.log, w.dest, { once: true, force: true });
    await assertEqual(w);
  });

  test("if it holds what the stream does not", async (t) => {
    const w = await world(t);
    await w.writer.run(insert(1));
    await w.writer.run(insert(1));
    await follow(w.log, w.dest, { once: true });
    const { last } = await w.log.ends();
    fs.rmSync(
      path.join(w.log.name.slice("archive:".length), "log/000000", `${last}`.padStart(10, "0")),
    );
    const older = await Archive.open(w.log.name.slice("archive:".length));
    await assert.rejects(follow(older, w.dest, { once: true }), { code: "ERR_LOCKSTEP_DIVERGED" });
  });

  test("while another process follows there", async (t) => {
    const w = await world(t);
    const stop = new AbortController();
    const inStep = Promise.withResolvers<void>();
    const done = follow(w.log, w.dest, { signal: stop.signal, onInStep: () => inStep.resolve() });
    await inStep.promise;
    await assert.rejects(follow(w.log, w.dest, { once: true }), { code: "ERR_LOCKSTEP_LOCKED" });
    stop.abort();
    await done;
  });
});
