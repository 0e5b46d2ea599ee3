/**
 * The replica's disk vanished in a start, after its record was opened and before its file was looked at: a
 * copy was made in the empty directory, and recorded on the disk that was gone. Back again, it was refused.
 */
import { test } from "node:test";
import { failed, Pair } from "../faults/pair.ts";
import { scenarios } from "../faults/scenarios.ts";
import { skip } from "../faults/shim.ts";

test("a replica whose disk vanishes in a start: SIDECAR, and it comes back", {
  skip,
}, async (t) => {
  const pair = new Pair(t, "node:sqlite", { checkpointBytes: 30_000 });
  await scenarios["a replica that lacks generations"].prepare(pair);
  pair.faults.set({
    on: "read",
    path: "/replica/app.db-lockstep-journal",
    times: 1,
    does: "vanish",
  });
  failed(await pair.open(), "SIDECAR");
  await pair.close();
  pair.remount();
  await pair.recovers();
});
