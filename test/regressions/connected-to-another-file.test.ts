/**
 * The primary's disk vanished after its log was being watched and before a connection was opened: SQLite
 * made a new file where the disk had been, and what was written to that was acknowledged.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dropIn } from "../faults/open.ts";
import { scratch } from "../scratch.ts";
import { DRIVERS } from "../support/drivers.ts";
import { assertAtRest } from "../support/files.ts";

for (const driver of DRIVERS) {
  test(`${driver}: a connection that would be to another file is refused`, async (t) => {
    const open = await dropIn(driver);
    const place = scratch(t);
    const disk = join(place, "disk");
    fs.mkdirSync(disk);
    const primary = join(disk, "app.db");
    const replicas = [join(place, "replica.db")];
    const first = open(primary, { replicas });
    first.exec("CREATE TABLE t (n INTEGER PRIMARY KEY)");
    fs.renameSync(disk, `${disk}-gone`);
    fs.mkdirSync(disk);
    assert.throws(() => open(primary, { replicas }), { code: "ERR_LOCKSTEP_PRIMARY_IO" });
    fs.rmSync(disk, { recursive: true });
    fs.renameSync(`${disk}-gone`, disk);
    first.exec("INSERT INTO t VALUES (1)"); // the other one was not to suffer from it
    first.close();
    assertAtRest(primary, replicas);
  });
}
