/**
 * A checkpoint fails. The commit that led to it is durable on every copy and was acknowledged; the
 * statement after it gets the error. The logs still stand, so nothing that was folded half is lost.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { driversOr } from "../support/drivers.ts";
import { failed, ok, Pair } from "./pair.ts";
import { type Errno, type Kind, type Rule, skip } from "./shim.ts";

const fails = (on: Kind, path: string, error: Errno): Rule[] => [{ on, path, does: { error } }];

const failures: readonly (readonly [string, Rule[], string])[] = [
  ["the replica's file cannot be written", fails("write", "replica/app.db", "EIO"), "REPLICA_IO"],
  ["the replica's file cannot grow", fails("write", "replica/app.db", "ENOSPC"), "REPLICA_FULL"],
  ["the replica's file cannot be synced", fails("sync", "replica/app.db", "EIO"), "REPLICA_IO"],
  ["the replica's log cannot be synced", fails("sync", "replica/app.db-wal", "EIO"), "REPLICA_IO"],
  ["the replica's log cannot be read", fails("read", "replica/app.db-wal", "EIO"), "REPLICA_IO"],
  [
    "the replica's record cannot be written",
    fails("write", "replica/app.db-lockstep-amended", "ENOSPC"),
    "REPLICA_FULL",
  ],
  [
    "the replica's record cannot be synced",
    fails("sync", "replica/app.db-lockstep-amended", "EIO"),
    "REPLICA_IO",
  ],
  ["the replica's file cannot be marked", fails("utimens", "replica/app.db", "EIO"), "REPLICA_IO"],
  ["the primary's file cannot be written", fails("write", "main/app.db", "EIO"), "PRIMARY_IO"],
  ["the primary's file cannot grow", fails("write", "main/app.db", "ENOSPC"), "PRIMARY_IO"],
  ["the primary's file cannot be synced", fails("sync", "main/app.db", "EIO"), "PRIMARY_IO"],
  [
    "the primary's record cannot be written",
    fails("write", "main/app.db-lockstep-amended", "ENOSPC"),
    "PRIMARY_IO",
  ],
];

/** The last insert makes the log large enough to be folded. */
const SMALL = { checkpointBytes: 30_000 };

for (const driver of driversOr("node:sqlite")) {
  describe(`in a checkpoint, with ${driver}`, { skip, concurrency: 2 }, () => {
    for (const [what, rules, code] of failures) {
      test(`${what}: ${code} with the next statement`, async (t) => {
        const pair = new Pair(t, driver, SMALL);
        await pair.begin();
        // The commit itself syncs the replica's log once; the checkpoint is what fails.
        const nth = rules[0]?.path === "replica/app.db-wal" && rules[0].on === "sync" ? 2 : 1;
        pair.faults.set(...rules.map((rule) => ({ ...rule, nth })));
        ok(await pair.insert(30_000));
        failed(await pair.exec("SELECT 1"), code);
        assert.ok(failed(await pair.exec("DELETE FROM t"), code).error?.same);
        pair.holdsAcknowledged(pair.primary);
        pair.holdsAcknowledged(pair.replica);
        ok(await pair.close());
        await pair.recovers();
      });

      test(`${what}, and the process is killed`, async (t) => {
        const pair = new Pair(t, driver, SMALL);
        await pair.begin();
        const nth = rules[0]?.path === "replica/app.db-wal" && rules[0].on === "sync" ? 2 : 1;
        pair.faults.set(...rules.map((rule) => ({ ...rule, nth })));
        ok(await pair.insert(30_000));
        await pair.restart();
        await pair.recovers();
      });
    }
  });
}

for (const driver of driversOr("better-sqlite3")) {
  describe(`in a close, with ${driver}`, { skip, concurrency: 2 }, () => {
    for (const [what, rules, code] of failures) {
      test(`${what}: the close throws ${code}`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        pair.faults.set(...rules);
        failed(await pair.close(), code);
        pair.holdsAcknowledged(pair.primary);
        pair.holdsAcknowledged(pair.replica);
        await pair.recovers();
      });
    }
  });
}
