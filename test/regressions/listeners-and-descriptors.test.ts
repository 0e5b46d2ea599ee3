/** What an application's listener throws fenced the database; each close left a descriptor open. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { test } from "node:test";
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

test("opening and closing leaves no descriptor open", (t) => {
  if (!fs.existsSync("/proc/self/fd")) return t.skip("needs /proc");
  const scene = Scene.make(t);
  const ofScene = (): string[] =>
    fs
      .readdirSync("/proc/self/fd")
      .flatMap((fd) => {
        try {
          return [fs.readlinkSync(`/proc/self/fd/${fd}`)];
        } catch {
          return []; // the descriptor of this listing
        }
      })
      .filter((name) => name.startsWith(scene.root));
  for (let i = 0; i < 3; i++) scene.life((db) => db.put());
  assert.deepEqual(ofScene(), []);
});
