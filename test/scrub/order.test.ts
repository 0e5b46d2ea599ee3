/** What must be on stable storage before what: the sums and their record, rotten pages and what replaces them. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ok, Pair } from "../faults/pair.ts";
import { type Call, type Kind, skip } from "../faults/shim.ts";
import { rot } from "../support/rot.ts";

const PAGE = 4096;

/** The calls of one kind on a path. */
function on(calls: readonly Call[], kind: Kind, path: string): Call[] {
  return calls.filter((call) => call.kind === kind && call.path === path && call.result >= 0);
}

/** Of these, the first that began after `call` had ended. */
function next(calls: readonly Call[], call: Call | undefined): Call {
  assert.ok(call, "it happened before");
  const found = calls.find(({ begin }) => begin > call.end);
  assert.ok(found, `something after ${call.kind} ${call.path}`);
  return found;
}

describe("on stable storage", { skip }, () => {
  for (const side of ["main", "replica"] as const) {
    test(`${side}: the sums of a checkpoint, before the record of it`, async (t) => {
      const pair = new Pair(t, "node:sqlite");
      await pair.begin();
      pair.faults.clear();
      ok(await pair.close());
      const calls = pair.record();
      const sums = `${side}/app.db-lockstep-sums`;
      const written = on(calls, "write", sums).at(-1);
      const synced = next(on(calls, "sync", sums), written);
      const before = on(calls, "sync", `${side}/app.db-lockstep`).filter(
        ({ begin, end }) => begin > (written as Call).begin && end < synced.end,
      );
      assert.deepEqual(before, [], "nothing is recorded in between");
      next(on(calls, "sync", `${side}/app.db-lockstep`), synced);
    });

    test(`${side}: the sums of a first copy, and their name, before the record`, async (t) => {
      const pair = new Pair(t, "node:sqlite");
      pair.faults.clear();
      ok(await pair.open());
      const calls = pair.record();
      const sums = `${side}/app.db-lockstep-sums`;
      const written = on(calls, "write", `${sums}-new`).at(-1);
      const synced = next(on(calls, "sync", `${sums}-new`), written);
      const named = next(on(calls, "rename", sums), synced);
      const durable = next(on(calls, "sync", side), named);
      const recorded = next(on(calls, "sync", `${side}/app.db-lockstep`), named);
      assert.ok(durable.end < recorded.begin, "the record vouches for sums that have their name");
      const early = on(calls, "rename", side === "replica" ? "replica/app.db" : sums);
      assert.ok(early.every(({ begin }) => begin >= named.begin));
      ok(await pair.close());
      await pair.atRest();
    });
  }

  test("a rotten page that is kept aside, and its name, before it is replaced", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await pair.begin();
    ok(await pair.close());
    rot(pair.replica, 2, PAGE, 4000);
    pair.faults.clear();
    const cli = join(import.meta.dirname, "../../src/cli/main.ts");
    const child = spawn(
      process.execPath,
      ["--no-warnings", cli, "scrub", pair.primary, pair.replica],
      {
        env: { ...process.env, ...pair.faults.env },
        stdio: "ignore",
      },
    );
    const [status] = await once(child, "close");
    assert.equal(status, 0);
    const calls = pair.record();
    const kept = on(calls, "write", "replica/app.db-lockstep-rot").at(-1);
    const synced = next(on(calls, "sync", "replica/app.db-lockstep-rot"), kept);
    const named = next(on(calls, "sync", "replica"), synced);
    const replaced = next(on(calls, "rename", "replica/app.db-wal"), named);
    const log = on(calls, "write", "replica/app.db-lockstep-new").at(-1) as Call;
    const ready = next(on(calls, "sync", "replica/app.db-lockstep-new"), log);
    assert.ok(ready.end < replaced.begin);
    const noted = on(calls, "sync", "replica/app.db-lockstep").filter(
      ({ begin, end }) => begin > ready.end && end < replaced.begin,
    );
    assert.ok(noted.length > 0, "the repair is on record before it takes effect");
    const inPlace = next(on(calls, "sync", "replica"), replaced);
    const folding = next(on(calls, "write", "replica/app.db-lockstep-journal"), replaced);
    assert.ok(inPlace.end < folding.begin, "the log's name is durable before it is folded");
  });
});
