/** Room behind a log's end is a convenience: a disk that has none for it fails no commit. */
import { describe, test } from "node:test";
import { driversOr } from "../support/drivers.ts";
import { failed, ok, Pair } from "./pair.ts";
import { type Errno, skip } from "./shim.ts";

for (const driver of driversOr("better-sqlite3")) {
  describe(`with ${driver}`, { skip, concurrency: 2 }, () => {
    for (const copy of ["main", "replica"] as const) {
      // The first sync of a log is the commit's, the second that of the room behind it.
      const rule = (error: Errno) =>
        ({ on: "sync", path: `${copy}/app.db-wal`, nth: 2, times: 1, does: { error } }) as const;

      test(`no room on the disk of ${copy}: the log grows as it is written`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        pair.faults.set(rule("ENOSPC"));
        for (let i = 0; i < 4; i++) ok(await pair.insert(60_000));
        ok(await pair.close());
        await pair.atRest();
      });

      test(`an error on the disk of ${copy} meanwhile is said with the next statement`, async (t) => {
        const pair = new Pair(t, driver);
        await pair.begin();
        pair.faults.set(rule("EIO"));
        ok(await pair.insert(60_000));
        failed(await pair.insert(), copy === "main" ? "PRIMARY_IO" : "REPLICA_IO");
        ok(await pair.close());
        await pair.recovers();
      });
    }
  });
}
