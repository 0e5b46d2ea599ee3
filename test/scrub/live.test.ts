/** Rot is looked for while the copies are in use; what changes meanwhile is not taken for rot. */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { scrub } from "../../src/scrub.ts";
import { Trio } from "../degrade/trio.ts";
import { assertAtRest } from "../support/files.ts";
import { rot } from "../support/rot.ts";
import { Scene } from "../support/scene.ts";
import { takeAside } from "./healing.ts";

const PAGE = 4096;

test("a page that has rotted is an event, with its copy and its table; closed at once, a scrub heals it", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(30, 3000));
  rot(scene.replica, 5, PAGE, 100);
  const db = scene.open({ scrubBytesPerSecond: 100e6 });
  const found = { copy: scene.replica, page: 5, owner: "t" };
  const [page] = await once(db.hub.replication, "rot");
  assert.deepEqual(page, found);
  assert.deepEqual(db.hub.replication.status.rot, [found]);
  db.put(1);
  assert.equal(db.hub.replication.status.failure, null);
  db.abandon();
  const report = await scrub(scene.primary, scene.replicas);
  assert.deepEqual(
    report.rotten.map(({ page: number }) => number),
    [5],
  );
});

test("commits and checkpoints go on: nothing of it is rot", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(100, 3000));
  rot(scene.replica, 50, PAGE, 100); // this one is, and says that a pass went by
  const db = scene.open({ scrubBytesPerSecond: 20e6, checkpointBytes: 300_000 });
  const pages: unknown[] = [];
  db.hub.replication.on("rot", ({ copy, page }) => pages.push([copy, page]));
  const seen = once(db.hub.replication, "rot");
  let isDone = false;
  void seen.then(() => (isDone = true));
  for (let i = 0; !isDone || i < 200; i++) {
    db.native.exec("UPDATE t SET data = randomblob(length(data)) WHERE n > 90");
    db.hub.gate();
    await delay(1);
  }
  assert.ok(db.happened.includes("checkpoint"));
  assert.deepEqual(pages, [[scene.replica, 50]]);
  db.abandon();
});

test("a replica that has rotted is moved away: a new one is made of the primary, while commits go on", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const before = trio.open();
  await trio.put(before, 30);
  before.close();
  const [, replica] = trio.replicas;
  rot(replica, 5, PAGE, 100);
  const db = trio.open({ scrubBytesPerSecond: 100e6 });
  await once(db.replication, "rot");
  const away = `${path.dirname(replica)}-rotten`;
  fs.mkdirSync(away);
  const rejoined = once(db.replication, "rejoined");
  for (const name of fs.readdirSync(path.dirname(replica))) {
    fs.renameSync(path.join(path.dirname(replica), name), path.join(away, name));
  }
  await trio.put(db, 5);
  assert.deepEqual(await rejoined, [replica]);
  await trio.put(db, 1);
  db.close();
  takeAside(replica);
  assertAtRest(trio.primary, trio.replicas);
  const { sound, rotten } = await scrub(trio.primary, trio.replicas);
  assert.deepEqual([sound, rotten], [true, []]);
});
