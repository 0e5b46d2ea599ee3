/**
 * A start failed once in folding or opening a copy. The connection that had failed was the last to be
 * closed, so SQLite folded the log and removed it after all, and what the file then held was on no
 * record: the next start refused the copy.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { failed, ok, Pair } from "../faults/pair.ts";
import { scenarios } from "../faults/scenarios.ts";
import { skip } from "../faults/shim.ts";
import { DRIVERS } from "../support/drivers.ts";

const once = { times: 1, does: { error: "EIO" } } as const;

for (const driver of DRIVERS) {
  test(`${driver}: the fold before a roll forward fails`, { skip }, async (t) => {
    const pair = new Pair(t, driver);
    await scenarios["a primary that lost its log's end"].prepare(pair);
    pair.faults.set({ on: "write", path: "main/app.db", nth: 2, ...once });
    failed(await pair.open(), "PRIMARY_IO");
    await pair.recovers();
  });

  test(`${driver}: the primary cannot be opened`, { skip }, async (t) => {
    const pair = new Pair(t, driver);
    await scenarios["a replica that lacks frames"].prepare(pair);
    pair.faults.set({ on: "truncate", path: "main/app.db-shm", ...once });
    failed(await pair.open(), "PRIMARY_IO");
    await pair.recovers();
  });
}

test("a replica's log that cannot be made durable is not left open", { skip }, async (t) => {
  const pair = new Pair(t, "node:sqlite");
  await pair.begin();
  ok(await pair.close());
  pair.faults.set(
    { on: "open", path: "replica/app.db-wal", times: 1, does: { delay: 0 } },
    { on: "open", path: "/replica", nth: "then", does: { error: "EIO" } },
  );
  const opened = await pair.open();
  if (!opened?.error) failed(await pair.insert(), "REPLICA_IO");
  await pair.close();
  const { value } = ok(await pair.subject.ask({ do: "descriptors", under: pair.faults.root }));
  assert.ok(!(value as string[]).some((path) => path.includes("replica/app.db-wal")));
  await pair.recovers();
});
