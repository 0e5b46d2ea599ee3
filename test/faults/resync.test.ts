/**
 * An older replica is brought up to date from the files, and a call fails: the error is about the copy
 * whose call it was, and does not put it down to another program alone.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { driversOr } from "../support/drivers.ts";
import { failed, Pair } from "./pair.ts";
import { scenarios } from "./scenarios.ts";
import { type Rule, skip } from "./shim.ts";

const failures: readonly (readonly [
  string,
  Rule,
  "PRIMARY_IO" | "REPLICA_IO" | "REPLICA_GONE" | "BUSY",
])[] = [
  [
    "the primary's sums cannot be opened",
    { on: "open", path: "main/app.db-lockstep-sums", does: { error: "EROFS" } },
    "PRIMARY_IO",
  ],
  [
    "the primary's sums cannot be read",
    { on: "read", path: "main/app.db-lockstep-sums", nth: 2, does: { error: "EIO" } },
    "PRIMARY_IO",
  ],
  [
    "what amends the replica's record cannot be made",
    { on: "open", path: "replica/app.db-lockstep-amended", does: { error: "EROFS" } },
    "REPLICA_IO",
  ],
  [
    "the replica's disk vanishes after it was looked at",
    { on: "open", path: "replica/app.db-wal", nth: 2, times: 1, does: "vanish" },
    "REPLICA_GONE",
  ],
  [
    // SQLite opens it to be read, then, and leaves its log: neither does it say so.
    "the replica cannot be opened to be written, once",
    { on: "open", path: "replica/app.db", times: 1, does: { error: "EIO" } },
    "BUSY",
  ],
];

for (const driver of driversOr("node:sqlite")) {
  describe(`with ${driver}`, { skip }, () => {
    for (const [what, rule, code] of failures) {
      test(`${what}: ${code}`, async (t) => {
        const pair = new Pair(t, driver);
        await scenarios["a replica that lacks generations"].prepare(pair);
        pair.faults.set(rule);
        const { error } = failed(await pair.open(), code);
        if (code === "BUSY") assert.match(String(error?.message), /or the system does not let it/);
        assert.equal(error?.copy, code === "PRIMARY_IO" ? pair.primary : pair.replica);
        pair.remount();
        await pair.recovers();
      });
    }
  });
}
