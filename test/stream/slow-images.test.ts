/** Images whose disk is slow, or hangs: nobody waits for ever, and none of their syncs takes for ever. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Mirror } from "../../src/gate/mirror.ts";
import { DatabaseSync } from "../../src/index.ts";
import { createArchive } from "../../src/stream/archive.ts";
import { ok, Pair } from "../faults/pair.ts";
import { skip } from "../faults/shim.ts";
import { scratch } from "../scratch.ts";
import { materialize } from "./streamed.ts";

type Given = Parameters<Mirror["post"]>;

/** A busy disk answers within it, in milliseconds. */
const PATIENCE_MS = 6000;

test("its disk hangs: the log begins anew after a while, and the stream has all", {
  skip,
}, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const archive = path.join(pair.faults.root, "archive");
  await createArchive(archive);
  const options = {
    replicas: [pair.replica, `archive:${archive}?imageBytes=300000`],
    ...{ replicaTimeout: PATIENCE_MS, checkpointBytes: 50_000 },
  };
  await pair.begin(options);
  pair.faults.set({ on: "*", path: "archive/snapshots/", does: "hang" });
  const hanging = pair.faults.hanging();
  let isHanging = false;
  void hanging.then(() => (isHanging = true));
  const commit = async (): Promise<void> => {
    ok(await pair.insert(20_000));
    await pair.subject.ask({ do: "turn", milliseconds: 5 });
  };
  while (!isHanging) await commit();
  await commit(); // the checkpoint before the image may have let the log begin anew with this one
  const salts = (): string => fs.readFileSync(`${pair.primary}-wal`).toString("hex", 16, 24);
  const before = salts();
  const begun = performance.now();
  while (salts() === before) {
    assert.ok(performance.now() - begun < 30_000, "the log does not begin anew");
    await commit();
  }
  assert.ok(performance.now() - begun > PATIENCE_MS / 2, "checkpoints waited");
  pair.faults.set();
  for (let i = 0; i < 30; i++) await commit();
  ok(await pair.close());
  await pair.recovers(options);
  const made = path.join(pair.faults.root, "made.db");
  await materialize(options.replicas[1] as string, made);
  assert.ok(fs.readFileSync(made).equals(fs.readFileSync(pair.primary)), "byte for byte");
});

test("an image hangs: what the stream answers a checkpoint meanwhile is heard", async (t) => {
  const root = scratch(t);
  await createArchive(path.join(root, "archive"));
  const post = Mirror.prototype.post;
  t.mock.method(Mirror.prototype, "post", function held(this: Mirror, ...given: Given) {
    const [{ type }] = given;
    if (type === "image") return; // it is never made
    post.apply(this, given);
    // The answer is there before anything else happens.
    if (type === "begin-fold") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30);
  });
  const db = new DatabaseSync(path.join(root, "app.db"), {
    replicas: [`archive:${root}/archive?imageBytes=100000`],
    ...{ replicaTimeout: 1000, checkpointBytes: 200_000 },
  });
  db.exec("CREATE TABLE t(data)");
  let checkpoints = 0;
  db.replication?.on("checkpoint", () => checkpoints++);
  const begun = performance.now();
  while (performance.now() - begun < 2500 || checkpoints < 5) {
    db.exec("INSERT INTO t VALUES(zeroblob(3000))");
    await turn();
  }
  assert.equal(db.replication?.status.failure, null);
  db.close();
});

test("a large image is synced as it is written", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const archive = path.join(pair.faults.root, "archive");
  await createArchive(archive);
  await pair.begin();
  ok(await pair.exec("CREATE TABLE large(data)"));
  for (let i = 0; i < 7; i++) ok(await pair.exec("INSERT INTO large VALUES(randomblob(10000000))"));
  ok(await pair.close());
  pair.faults.clear();
  const options = { replicas: [pair.replica, `archive:${archive}`] };
  ok(await pair.open(options));
  const syncs = pair.faults.record().filter(({ kind, path: file }) => {
    return kind === "sync" && /^archive\/new\/\d{12}-/.test(file);
  });
  assert.ok(syncs.length >= 3, `${syncs.length} syncs of 70 MB`);
  ok(await pair.close());
  await pair.recovers(options);
});
