/** A fold records what it folded, or nothing. */
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { foldAndRecord } from "../../src/lineage/fold.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { leftByAnother } from "../faults/scenarios.ts";
import { scratch } from "../scratch.ts";
import { at } from "../support/copies.ts";

test("a log with other frames than were described is not recorded as those", (t) => {
  const copy = path.join(scratch(t), "app.db");
  leftByAnother(copy);
  const driver = loadDriver("node:sqlite");
  const sidecar = Sidecar.open(driver, copy, "replica");
  t.after(() => sidecar.close());
  const frames = scanLog(`${copy}-wal`)?.commits.at(-1)?.frame as number;
  const fewer = { position: at(1, frames - 1), frames: frames - 1 };
  assert.throws(() => foldAndRecord(driver, sidecar, fewer), { code: "ERR_LOCKSTEP_BUSY" });
  assert.equal(sidecar.state.folded, null);
});
