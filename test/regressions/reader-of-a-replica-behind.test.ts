/**
 * An idle connection of another program on a replica that has to be re-synchronised: the log that
 * was renamed beneath it was invisible to SQLite, recorded as folded, and truncated.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Program } from "../support/program.ts";
import { Scene } from "../support/scene.ts";

for (const readOnly of [false, true]) {
  test(`an idle ${readOnly ? "read-only " : ""}connection on the replica: refused, and done when it is gone`, async (t) => {
    const scene = Scene.make(t, { replicas: 2 });
    const [one, two] = scene.replicas as [string, string];
    scene.life((db) => db.put(3));
    scene.life((db) => db.put(2), { replicas: [two] });
    scene.life((db) => db.put(2), { replicas: [two] });
    const other = new Program(t, one, { readOnly });
    await other.sql("SELECT count(*) FROM t");
    assert.throws(() => scene.open({ replicas: [one] }), { code: "ERR_LOCKSTEP_BUSY" });
    await other.end();
    scene.life((db) => db.put(), { replicas: [one] });
  });
}
