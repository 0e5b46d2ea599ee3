/** `onReplicaFailure: "degrade"`: commits go on without a replica, and it comes back by itself. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { lockstepJson } from "../cli/lockstep.ts";
import { dropIns } from "../dropin/pair.ts";
import { driversOr } from "../support/drivers.ts";
import { readAtRest, runSql } from "../support/files.ts";
import { event, Trio } from "./trio.ts";

const OFTEN = { checkpointBytes: 100_000 };

for (const [usual, durability] of [
  ["node:sqlite", "commit"],
  ["better-sqlite3", "barrier"],
] as const) {
  for (const driver of driversOr(usual)) {
    describe(`${driver}, ${durability}`, { concurrency: 1 }, () => {
      test("it lacks frames of the log only: it gets those", async (t) => {
        const trio = new Trio(t, driver, durability);
        const db = trio.open();
        const [, two] = trio.replicas;
        await trio.put(db, 3);
        const before = db.replication.status.replicas[1].position;
        const degraded = event(db, "degraded");
        trio.pullOut("two");
        await trio.put(db, 400); // more than goes through the ring at its end
        const [replica, error] = await degraded;
        assert.deepEqual([replica, error.code], [two, "ERR_LOCKSTEP_REPLICA_GONE"]);
        assert.deepEqual(trio.states(db), ["mirroring", "detached"]);
        const { position, lag, lastError } = db.replication.status.replicas[1];
        assert.equal(position, before);
        assert.ok(lag >= 400, `it lacks ${lag} frames`);
        assert.equal(lastError.copy, two);
        trio.putBack("two");
        await trio.untilRejoined(db, two);
        assert.equal(db.replication.status.replicas[1].lastError, null);
        trio.closeAndCompare(db);
        assert.ok(!events(two).includes("re-synchronised"), "nothing but frames was needed");
      });

      test("the log began anew meanwhile: it gets the pages that differ", async (t) => {
        const trio = new Trio(t, driver, durability);
        const db = trio.open(OFTEN);
        await trio.put(db, 3);
        trio.pullOut("two");
        await trio.put(db, 120);
        trio.putBack("two");
        await trio.untilRejoined(db, trio.replicas[1]);
        trio.closeAndCompare(db);
        assert.ok(events(trio.replicas[1]).includes("re-synchronised"));
      });

      test("a new, empty disk: it gets a copy", async (t) => {
        const trio = new Trio(t, driver, durability);
        const db = trio.open(OFTEN);
        await trio.put(db, 60);
        trio.pullOut("one");
        await trio.put(db, 3);
        trio.putIn("one");
        await trio.untilRejoined(db, trio.replicas[0]);
        trio.closeAndCompare(db);
        assert.ok(events(trio.replicas[0]).includes("copied"));
      });

      test("closed without it, opened without it, and then it is back", async (t) => {
        const trio = new Trio(t, driver, durability);
        const first = trio.open(OFTEN);
        await trio.put(first, 3);
        trio.pullOut("two");
        await trio.put(first, 60);
        first.close();
        const db = trio.open(OFTEN);
        const [replica, error] = await event(db, "degraded");
        assert.deepEqual([replica, error.code], [trio.replicas[1], "ERR_LOCKSTEP_REPLICA_GONE"]);
        assert.deepEqual(trio.states(db), ["mirroring", "detached"]);
        await trio.put(db, 60);
        trio.putBack("two");
        await trio.untilRejoined(db, trio.replicas[1]);
        trio.closeAndCompare(db);
      });
    });
  }
}

test("closed without it: the next start, of any policy, brings it together", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open(OFTEN);
  await trio.put(db, 3);
  trio.pullOut("two");
  await trio.put(db, 60);
  db.close();
  trio.putBack("two");
  trio.closeAndCompare(trio.open({ onReplicaFailure: "stop" }));
});

test("what the record says before anything is acknowledged without it, and when it is whole again", async (t) => {
  const trio = new Trio(t, "better-sqlite3");
  const db = trio.open();
  await trio.put(db, 3);
  const { position } = db.replication.status.replicas[1];
  trio.pullOut("two");
  await trio.put(db, 1);
  const status = (): ReturnType<typeof lockstepJson>["json"] =>
    lockstepJson("status", trio.primary, ...trio.replicas).json;
  const [one, two] = status().replicas;
  assert.equal(one.detached, null);
  assert.equal(two.detached.position, position);
  assert.equal(two.detached.code, "ERR_LOCKSTEP_REPLICA_GONE");
  trio.putBack("two");
  await trio.untilRejoined(db, trio.replicas[1]);
  assert.deepEqual(
    status().replicas.map(({ detached }: { detached: unknown }) => detached),
    [null, null],
  );
  trio.closeAndCompare(db);
});

describe("minCopies", { concurrency: 1 }, () => {
  test("the primary and one replica at least, if not said otherwise", async (t) => {
    const trio = new Trio(t, "node:sqlite");
    const db = trio.open();
    await trio.put(db, 3);
    trio.pullOut("one");
    await trio.put(db, 3);
    trio.pullOut("two");
    assert.throws(() => db.exec("INSERT INTO t VALUES (100, NULL)"), {
      code: "ERR_LOCKSTEP_REPLICA_GONE",
      copy: trio.replicas[1],
    });
    assert.throws(() => db.exec("SELECT 1"), { code: "ERR_LOCKSTEP_REPLICA_GONE" });
    db.close();
    trio.putBack("one");
    trio.putBack("two");
    const again = trio.open({ onReplicaFailure: "stop" });
    again.exec("DELETE FROM t WHERE n = 100"); // it may be there or not
    trio.closeAndCompare(again);
  });

  test("1: the primary alone, and both come back", async (t) => {
    const trio = new Trio(t, "better-sqlite3");
    const db = trio.open({ minCopies: 1, ...OFTEN });
    await trio.put(db, 3);
    trio.pullOut("one");
    await trio.put(db, 3);
    trio.pullOut("two");
    await trio.put(db, 60);
    assert.deepEqual(trio.states(db), ["detached", "detached"]);
    trio.putBack("two");
    await trio.untilRejoined(db, trio.replicas[1]);
    trio.putBack("one");
    await trio.untilRejoined(db, trio.replicas[0]);
    trio.closeAndCompare(db);
  });

  test("all copies: a replica that fails fences, as with `stop`", async (t) => {
    const trio = new Trio(t, "node:sqlite");
    const db = trio.open({ minCopies: 3 });
    await trio.put(db, 3);
    trio.pullOut("two");
    await assert.rejects(trio.put(db, 1), { code: "ERR_LOCKSTEP_REPLICA_GONE" });
    db.close();
    trio.putBack("two");
    assert.throws(() => {
      trio.pullOut("two");
      trio.open({ minCopies: 3 });
    });
    trio.putBack("two");
    const again = trio.open();
    again.exec("DELETE FROM t WHERE n > 3");
    trio.closeAndCompare(again);
  });
});

test("a primary that is missing is restored with all replicas at hand, or not at all", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open();
  await trio.put(db, 3);
  trio.pullOut("one");
  await trio.put(db, 3); // `two` has them, `one` has not
  db.close();
  for (const name of fs.readdirSync(path.dirname(trio.primary))) {
    fs.rmSync(path.join(path.dirname(trio.primary), name));
  }
  trio.pullOut("two");
  trio.putBack("one");
  assert.throws(() => trio.open({ restoreMissing: true }), {
    code: "ERR_LOCKSTEP_REPLICA_GONE",
    copy: trio.replicas[1],
  });
  trio.putIn("two"); // not mounted yet: an empty directory
  const refused = { code: "ERR_LOCKSTEP_PRIMARY_MISSING", message: /1 of 2 replicas are there/ };
  assert.throws(() => trio.open({ restoreMissing: true }), refused);
  trio.takeOut("two");
  trio.putBack("two");
  trio.closeAndCompare(trio.open({ restoreMissing: true }));
});

for (const since of ["it was in use", "the start"]) {
  test(`a primary that is missing is not restored from what went without since ${since}`, async (t) => {
    const trio = new Trio(t, "better-sqlite3");
    let db = trio.open();
    await trio.put(db, 3);
    if (since === "the start") {
      db.close();
      trio.pullOut("one");
      db = trio.open();
    } else {
      trio.pullOut("one");
    }
    await trio.put(db, 3);
    db.close();
    trio.putBack("one");
    fs.rmSync(trio.primary);
    const options = { restoreMissing: true, replicas: [trio.replicas[0]], minCopies: 2 };
    assert.throws(() => trio.open(options), {
      code: "ERR_LOCKSTEP_PRIMARY_MISSING",
      message: /commits went on without/,
    });
    trio.closeAndCompare(trio.open({ restoreMissing: true }));
  });
}

test("a replica that came back knows where the others were left", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open({ minCopies: 1 });
  await trio.put(db, 3);
  trio.pullOut("one");
  await trio.put(db, 3);
  trio.pullOut("two");
  await trio.put(db, 3);
  trio.putBack("one");
  await trio.untilRejoined(db, trio.replicas[0]);
  db.close();
  trio.putBack("two");
  for (const name of fs.readdirSync(path.dirname(trio.primary))) {
    fs.rmSync(path.join(path.dirname(trio.primary), name));
  }
  trio.closeAndCompare(trio.open({ restoreMissing: true }));
});

test("a start goes on without a replica whose path cannot be looked at", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  trio.open().close();
  trio.pullOut("two");
  fs.writeFileSync(path.dirname(trio.replicas[1]), "a file where its directory was");
  const db = trio.open();
  assert.deepEqual(trio.states(db), ["mirroring", "detached"]);
  await trio.put(db, 3);
  fs.rmSync(path.dirname(trio.replicas[1]));
  trio.putBack("two");
  await trio.untilRejoined(db, trio.replicas[1]);
  trio.closeAndCompare(db);
});

test("it gets what it lacks although a reader was in the way of the checkpoint, and nobody writes", async (t) => {
  const alive = setInterval(() => {}, 1000); // nothing of ours keeps a process
  t.after(() => clearInterval(alive));
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open(OFTEN);
  await trio.put(db, 3);
  trio.pullOut("two");
  await trio.put(db, 60);
  const reader = new DatabaseSync(trio.primary, { readOnly: true });
  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM t").get();
  await trio.put(db, 3);
  const postponed = event(db, "checkpoint-postponed");
  const rejoined = event(db, "rejoined");
  trio.putBack("two");
  await postponed;
  reader.exec("COMMIT");
  await rejoined;
  reader.close();
  trio.closeAndCompare(db);
});

test("a replica that is lost by the close itself is done without", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open();
  await trio.put(db, 3);
  const { replication } = db;
  trio.pullOut("two");
  db.close();
  assert.equal(replication.status.failure, null);
  assert.deepEqual(await replication.durable(), replication.status.primary.position);
  trio.putBack("two");
  trio.closeAndCompare(trio.open());
});

test("a replica that was promoted meanwhile: this primary is one no more", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open();
  await trio.put(db, 3);
  trio.pullOut("two");
  await trio.put(db, 3);
  const out = path.join(path.dirname(trio.replicas[1]).concat("-out"), "app.db");
  new dropIns["node:sqlite"](out, { replicas: [`${out}-replica`] }).close();
  const failed = event(db, "failed");
  trio.putBack("two");
  const [error] = await failed;
  assert.equal(error.code, "ERR_LOCKSTEP_FENCED");
  assert.throws(() => db.exec("INSERT INTO t VALUES (99, NULL)"), { code: "ERR_LOCKSTEP_FENCED" });
  db.close();
  trio.holdsAll(trio.replicas[0]);
});

test("a replica that another program wrote meanwhile stays out, and commits go on", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open();
  await trio.put(db, 3);
  trio.pullOut("two");
  await trio.put(db, 3);
  runSql(`${path.dirname(trio.replicas[1])}-out/app.db`, "CREATE TABLE foreign_rows (x)");
  trio.putBack("two");
  const { replicas } = trio;
  let lastError = null;
  while (lastError?.code !== "ERR_LOCKSTEP_DIVERGED") {
    await trio.put(db, 3);
    await new Promise((resolve) => setTimeout(resolve, 1));
    lastError = db.replication.status.replicas[1].lastError;
  }
  assert.equal(lastError.copy, replicas[1]);
  assert.deepEqual(trio.states(db), ["mirroring", "detached"]);
  db.close();
  assert.throws(() => trio.open(), { code: "ERR_LOCKSTEP_DIVERGED" });
  trio.holdsAll(trio.primary);
  trio.holdsAll(trio.replicas[0]);
});

/** What the record beside a closed copy says that happened to it. */
function events(copy: string): unknown[] {
  return readAtRest(`${copy}-lockstep`, (db) =>
    db
      .prepare("SELECT what FROM event")
      .all()
      .map(({ what }) => what),
  );
}
