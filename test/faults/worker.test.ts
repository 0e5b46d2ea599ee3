/** The thread that mirrors to the replica dies. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DRIVERS } from "../support/drivers.ts";
import { failed, ok, Pair, TIMEOUT_MS } from "./pair.ts";
import { skip } from "./shim.ts";

for (const driver of DRIVERS) {
  describe(`with ${driver}`, { skip, concurrency: 2 }, () => {
    test("between two commits: WORKER_DIED, and a reopen is possible at once", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      ok(await pair.subject.ask({ do: "kill workers" }));
      failed(await pair.insert(), "WORKER_DIED");
      pair.forget(4); // refused before SQLite saw it
      assert.ok(failed(await pair.exec("SELECT 1"), "WORKER_DIED").error?.same);
      pair.holdsAcknowledged(pair.primary);
      pair.holdsAcknowledged(pair.replica);
      const { milliseconds } = ok(await pair.close());
      assert.ok(milliseconds < TIMEOUT_MS);
      await pair.recovers();
    });

    test("before a close: the close says so", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      ok(await pair.subject.ask({ do: "kill workers" }));
      const { milliseconds } = ok(await pair.close()); // was said when it died
      assert.ok(milliseconds < TIMEOUT_MS);
      await pair.recovers();
    });

    test("and the application exits without closing: as after a crash", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      ok(await pair.subject.ask({ do: "kill workers" }));
      await pair.subject.ask({ do: "exit", code: 0 });
      await pair.restart();
      pair.holdsAcknowledged(pair.primary);
      pair.holdsAcknowledged(pair.replica);
      await pair.recovers();
    });

    test("an application that exits without closing is closed", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      await pair.subject.ask({ do: "exit", code: 0 });
      assert.deepEqual(await pair.subject.ended, { code: 0, signal: null });
      await pair.atRest();
    });

    test("an exit whose close fails says so with its code", async (t) => {
      const pair = new Pair(t, driver);
      await pair.begin();
      pair.faults.set({ on: "sync", path: "replica/app.db", does: { error: "EIO" } });
      await pair.subject.ask({ do: "exit", code: 0 });
      assert.equal((await pair.subject.ended).code, 1);
      assert.match(pair.subject.complaints, /ERR_LOCKSTEP_REPLICA_IO|REPLICA_IO/);
      await pair.restart();
      await pair.recovers();
    });
  });
}
