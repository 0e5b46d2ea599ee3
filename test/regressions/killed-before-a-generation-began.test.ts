/**
 * A generation was on record beside the replica, its header was not written; the next start folded the
 * log before it once more and was killed, too: then no rule proved the replica.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ok, Pair } from "../faults/pair.ts";
import { skip } from "../faults/shim.ts";
import { DRIVERS } from "../support/drivers.ts";

describe("killed before a generation began, and again in the start", { skip }, () => {
  for (const driver of DRIVERS) {
    for (const on of ["sync", "utimens"] as const) {
      test(`${driver}: in the ${on} of the file that is folded again`, async (t) => {
        const pair = new Pair(t, driver, { checkpointBytes: 1 });
        await pair.begin();
        await pair.dies({ on: "write", path: "replica/app.db-wal", does: "kill" }, () =>
          pair.insert(),
        );
        await pair.dies({ on, path: "replica/app.db", does: "kill" }, () => pair.open());
        const opened = ok(await pair.open());
        assert.ok(opened);
        ok(await pair.insert());
        ok(await pair.close());
        await pair.atRest();
      });
    }
  }
});
