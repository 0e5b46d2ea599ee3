/** A primary whose log began a moment ago is not on record yet; as a replica it was unproven. */
import { test } from "node:test";
import { elsewhere } from "../support/program.ts";
import { Scene } from "../support/scene.ts";

test("a primary that was killed in the first commit of a generation becomes a replica", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  elsewhere(scene.primary, ["INSERT INTO t VALUES(1000, 'begun')"], { killed: true });
  Scene.swapped(t, scene).life((db) => db.put());
});
