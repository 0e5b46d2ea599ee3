/**
 * An old primary held commits that it had acknowledged to nobody, and was replaced by a replica without
 * them. As long as that had committed nothing yet, the old primary's return rolled it forward: what the
 * application had seen of its database changed behind its back.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sync } from "../../src/sync.ts";
import { Scene } from "../support/scene.ts";

for (const driver of ["node:sqlite", "better-sqlite3"] as const) {
  test(`${driver}: what a promotion has left behind does not come back`, async (t) => {
    const old = Scene.make(t, { driver, replicas: 2 });
    const first = old.open();
    first.put(3);
    first.putUnacknowledged(1001);
    const crashed = old.crashImage();
    first.close();

    const scene = Scene.swapped(t, crashed);
    const [former, other] = scene.replicas as [string, string];
    const rows = "SELECT count(*) AS rows FROM t";
    scene.life((db) => assert.deepEqual({ ...db.all(rows)[0] }, { rows: 3 }), {
      replicas: [other],
    });

    scene.refuses("PRIMARY_STALE");
    await sync(scene.primary, former, { from: "primary" });
    scene.life((db) => {
      assert.deepEqual({ ...db.all(rows)[0] }, { rows: 3 });
      db.put(1);
    });
  });
}
