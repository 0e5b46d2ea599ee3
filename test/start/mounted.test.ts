/** A replica's disk that is not mounted is not mistaken for a replica that was never made. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { Scene } from "../support/scene.ts";

test("a replica on another file system is remembered as that", (t) => {
  const scene = Scene.make(t);
  const shm = "/dev/shm";
  if (!fs.existsSync(shm) || fs.statSync(shm).dev === fs.statSync(scene.root).dev) {
    return t.skip("needs a second file system");
  }
  const disk = fs.mkdtempSync(path.join(shm, "lockstep-test-"));
  t.after(() => fs.rmSync(disk, { recursive: true, force: true }));
  const apart = path.join(disk, "app.db");
  scene.life((db) => db.put(3), { replicas: [scene.replica, apart] });
  assert.deepEqual(scene.sidecar(scene.primary).state.apart, [apart]);
});

test("its directory is on the primary's file system now, and empty: refused, nothing is copied", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const point = path.dirname(scene.replica);
  for (const name of fs.readdirSync(point)) fs.rmSync(path.join(point, name));
  const sidecar = Sidecar.open(loadDriver("node:sqlite"), scene.primary, "primary");
  sidecar.update({ apart: [scene.replica] });
  sidecar.close();
  scene.refuses("REPLICA_GONE");
  assert.deepEqual(fs.readdirSync(point), []);
});
