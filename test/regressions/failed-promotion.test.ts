/** A replica that was opened as a primary, in vain, stayed promoted: its primary was fenced. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { Scene } from "../support/scene.ts";

test("a start that fails promotes nobody", (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const [one, two] = scene.replicas as [string, string];
  scene.life((db) => db.put(3), { replicas: [one] });
  fs.mkdirSync(`${two}-lockstep-new`); // no copy can be made here
  const swapped = Scene.swapped(t, scene);
  assert.throws(() => swapped.open({ replicas: [two] }));
  assert.equal(scene.sidecar(one).state.role, "replica");
  scene.life((db) => db.put(), { replicas: [one] });
});
