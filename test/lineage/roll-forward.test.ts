/** Nothing is rolled over what another program wrote since the primary was looked at. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { describeCopy, walPath } from "../../src/lineage/describe.ts";
import { rollForward } from "../../src/lineage/roll-forward.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { runSql } from "../support/files.ts";
import { Scene } from "../support/scene.ts";

test("a primary that was written and closed after it was described is refused, untouched", (t) => {
  const driver = loadDriver("node:sqlite");
  const scene = Scene.make(t);
  scene.life((db) => db.put());
  const db = scene.open();
  db.put(3);
  const { primary, replica } = scene.crashImage();
  db.close();
  for (const suffix of ["-wal", "-shm"]) fs.rmSync(primary + suffix); // the replica is ahead
  const [mine, theirs] = [
    Sidecar.open(driver, primary, "primary"),
    Sidecar.open(driver, replica, "replica"),
  ];
  t.after(() => [mine, theirs].map((sidecar) => sidecar.close()));
  const [before, ahead] = [describeCopy(primary, mine), describeCopy(replica, theirs)];
  assert.ok(before.position && ahead.position);
  runSql(primary, "CREATE TABLE foreigner(a)");
  const bytes = fs.readFileSync(primary);
  assert.throws(() => rollForward(driver, mine, before, ahead, walPath(ahead.path)), {
    code: "ERR_LOCKSTEP_BUSY",
  });
  assert.ok(fs.readFileSync(primary).equals(bytes));
  assert.ok(!fs.existsSync(`${primary}-wal`));
});
