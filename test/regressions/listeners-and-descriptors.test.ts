/**
 * What an application's listener throws fenced the database, and what its `onProgress` throws was taken for a disk's failure:
 * the start was refused, and a replica stayed detached. Each close left a descriptor open.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { areListed, openBelow } from "../support/descriptors.ts";
import { runSql } from "../support/files.ts";
import { Scene } from "../support/scene.ts";

const APPLICATION = `
  import { DatabaseSync } from ${JSON.stringify(new URL("../../src/index.ts", import.meta.url).href)};
  const [primary, replica] = process.argv.slice(1);
  const db = new DatabaseSync(primary, { replicas: [replica], checkpointBytes: 16384 });
  const { replication } = db;
  replication.once("checkpoint", () => { throw new Error("the application's own"); });
  db.exec("CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)");
  for (let n = 1; n <= 20; n++) db.exec("INSERT INTO t VALUES(" + n + ", zeroblob(100))");
  console.log(replication.status.failure, replication.listenerCount("checkpoint"));
  db.close();
  console.log(replication.status.replicas[0].state);
`;

test("a listener that throws is the application's affair, not the commit's", (t) => {
  const scene = Scene.make(t);
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ["--no-warnings", "--input-type=module", "-e", APPLICATION, scene.primary, scene.replica],
    { encoding: "utf8" },
  );
  assert.equal(stdout, "null 0\nclosed\n", stderr);
  assert.match(stderr, /the application's own/);
  assert.equal(status, 1);
  for (let n = 1; n <= 20; n++) scene.acknowledged.set(n, 100);
  scene.assertAtRest();
});

const PROGRESS = `
  import fs from "node:fs";
  import path from "node:path";
  import { DatabaseSync } from ${JSON.stringify(new URL("../../src/index.ts", import.meta.url).href)};
  const [primary, replica] = process.argv.slice(1);
  const caught = new Set();
  process.on("uncaughtException", ({ message }) => caught.add(message));
  const onProgress = ({ phase }) => { throw new Error("its own, at " + phase); };
  const options = { replicas: [replica], onReplicaFailure: "degrade", minCopies: 1, onProgress };
  const db = new DatabaseSync(primary, options);
  const { replication } = db;
  const made = replication.status.replicas[0].state;
  const [degraded, rejoined] = ["degraded", "rejoined"].map((event) => new Promise((resolve) => replication.once(event, resolve)));
  fs.rmSync(path.dirname(replica), { recursive: true });
  db.exec("INSERT INTO t VALUES(3, zeroblob(100))");
  await degraded;
  fs.mkdirSync(path.dirname(replica));
  const commits = setInterval(() => db.exec("UPDATE t SET data = zeroblob(100) WHERE n = 3"), 20);
  await rejoined;
  clearInterval(commits);
  const { lastError } = replication.status.replicas[0];
  console.log(made, replication.status.replicas[0].state, lastError, [...caught].join());
  db.close();
`;

test("an onProgress that throws is the application's affair, not the start's nor the replica's", (t) => {
  const scene = Scene.make(t);
  runSql(
    scene.primary,
    "PRAGMA journal_mode=WAL",
    "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)",
    "INSERT INTO t VALUES(1, zeroblob(1000)), (2, zeroblob(1000))",
  );
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--no-warnings", "--input-type=module", "-e", PROGRESS, scene.primary, scene.replica],
    { encoding: "utf8", timeout: 60_000 },
  );
  assert.match(stdout, /^mirroring mirroring null its own, at copy/, stderr);
  for (const [n, length] of [1000, 1000, 100].entries()) scene.acknowledged.set(n + 1, length);
  scene.assertAtRest();
});

test("opening and closing leaves no descriptor open", (t) => {
  if (!areListed) return t.skip("needs /proc");
  const scene = Scene.make(t);
  for (let i = 0; i < 3; i++) scene.life((db) => db.put());
  assert.deepEqual(openBelow(scene.root), []);
});
