/**
 * Whoever had a look at a copy's record at the very moment when it was to be locked kept it from being
 * locked: two primaries that started at once were both refused.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import type { Readable } from "node:stream";
import { test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { Sidecar, sidecarPath } from "../../src/lineage/sidecar.ts";
import { scratch } from "../scratch.ts";

/** Says when it looks, and looks for 100 ms. */
const LOOK = `
  const { DatabaseSync } = require("node:sqlite");
  const db = new DatabaseSync(process.argv[1], { readOnly: true });
  db.exec("BEGIN; SELECT * FROM state");
  require("node:fs").writeSync(1, "looking");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  db.exec("COMMIT");
`;

for (const name of ["node:sqlite", "better-sqlite3"] as const) {
  test(`${name}: a record that somebody looks at for a moment can be locked`, async (t) => {
    const driver = loadDriver(name);
    const copy = path.join(scratch(t), "app.db");
    const first = Sidecar.open(driver, copy, "replica");
    first.update({ databaseId: "db" });
    first.close();

    const looker = spawn(process.execPath, ["--no-warnings", "-e", LOOK, sidecarPath(copy)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(looker.stdout as Readable, "data");
    Sidecar.open(driver, copy, "replica").close();
    await once(looker, "exit");
  });
}
