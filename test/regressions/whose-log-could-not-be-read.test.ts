/** The primary was rolled forward, and the replica's log could not be read: it was said of the primary. */
import { test } from "node:test";
import { failed, Pair } from "../faults/pair.ts";
import { scenarios } from "../faults/scenarios.ts";
import { skip } from "../faults/shim.ts";

test("a replica's log that cannot be read in a roll forward: REPLICA_IO", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  await scenarios["a primary that lost its log's end"].prepare(pair);
  // The first opening is the replica's own thread's.
  pair.faults.set({ on: "open", path: "replica/app.db-wal", nth: 2, does: { error: "EIO" } });
  failed(await pair.open(), "REPLICA_IO");
  await pair.recovers();
});
