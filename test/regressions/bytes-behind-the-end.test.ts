/**
 * A primary's file with bytes behind its end, as some program leaves them, was taken for equal to its
 * replica. SQLite counts them: its next commit made pages of them, which the replica never got.
 */
import fs from "node:fs";
import { test } from "node:test";
import type { DriverName } from "../../src/driver.ts";
import { sync } from "../../src/sync.ts";
import { Scene } from "../support/scene.ts";

for (const driver of ["node:sqlite", "better-sqlite3"] as DriverName[]) {
  for (const side of ["primary", "replica"] as const) {
    test(`${driver}: the ${side}'s file is longer: the two are not equal`, async (t) => {
      const scene = Scene.make(t, { driver });
      scene.life((db) => db.put(3));
      fs.appendFileSync(scene[side], Buffer.alloc(4120, 7));
      scene.refuses("DIVERGED");
      await sync(scene.primary, scene.replica, { from: "primary" });
      scene.life((db) => db.put(5, 9000));
    });
  }
}
