/** `diagnostics_channel`: what each channel is told, and that the page of the docs lists them all. */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { channels } from "../../src/channels.ts";
import { codes } from "../../src/errors.ts";
import { Trio } from "../degrade/trio.ts";
import { type Any, drivers, Pair } from "../dropin/pair.ts";
import { Program } from "../support/program.ts";

/** What is published on these channels while the test runs. */
function heard(t: TestContext, ...names: (keyof typeof channels)[]): [name: string, Any][] {
  const all: [string, Any][] = [];
  for (const name of names) {
    const listener = (message: unknown): void => void all.push([name, message]);
    subscribe(channels[name].name, listener);
    t.after(() => unsubscribe(channels[name].name, listener));
  }
  return all;
}

for (const driver of drivers) {
  test(`${driver}: each write is a commit and a sync`, (t) => {
    const pair = new Pair(t, driver);
    const db = pair.open();
    db.exec("CREATE TABLE t (x)");
    const all = heard(t, "commit", "sync");
    db.exec("INSERT INTO t VALUES (1)");
    const bytes = db.replication.metrics.bytes;
    db.exec("BEGIN; INSERT INTO t VALUES (2); COMMIT; INSERT INTO t VALUES (3)");
    assert.deepEqual(
      all.map(([name]) => name),
      ["sync", "commit", "sync", "commit"],
    );
    const [, , [, sync], [, commit]] = all as [Any, Any, Any, Any];
    const { durationMs: synced, ...rest } = sync;
    const { position } = db.replication.status.primary;
    assert.deepEqual(rest, { primary: pair.primary, position });
    const { durationMs, ...counted } = commit;
    const expected = { commits: 2, bytes: db.replication.metrics.bytes - bytes };
    assert.deepEqual(counted, { primary: pair.primary, ...expected });
    assert.ok(synced > 0 && synced <= durationMs);
  });
}

test("with durability barrier there is one of each a round", async (t) => {
  const db = new Pair(t, "node:sqlite").open({ durability: "barrier" });
  db.exec("CREATE TABLE t (x)");
  await db.replication.durable();
  const all = heard(t, "commit", "sync");
  for (let i = 0; i < 5; i++) db.exec(`INSERT INTO t VALUES (${i})`);
  await db.replication.durable();
  assert.deepEqual(
    all.map(([name, { commits }]) => [name, commits]),
    [
      ["sync", undefined],
      ["commit", 5],
    ],
  );
});

test("what a replication emits is published: checkpoints", async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const db = pair.open({ checkpointBytes: 64 << 10 });
  const all = heard(t, "checkpoint", "checkpoint-postponed");
  db.exec("CREATE TABLE t (x)");
  const reader = new Program(t, pair.replica, { readOnly: true });
  await reader.sql("BEGIN");
  await reader.sql("SELECT count(*) FROM t");
  while (all.length === 0) db.exec("INSERT INTO t VALUES (zeroblob(9000))");
  assert.deepEqual(all[0], [
    "checkpoint-postponed",
    {
      primary: pair.primary,
      because: `${pair.replica}: a reader of the replica is in the way, or no descriptor is left`,
      sinceMs: 0,
    },
  ]);
  await reader.end();
  while (all.at(-1)?.[0] !== "checkpoint") db.exec("INSERT INTO t VALUES (zeroblob(9000))");
  assert.deepEqual(all.at(-1)?.[1], { primary: pair.primary });
});

test("and replicas that go and come back, and the failure in the end", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const [one, two] = trio.replicas;
  const db = trio.open();
  const all = heard(t, "degraded", "rejoined", "failed", "rot");
  const { primary } = trio;
  await trio.put(db, 1);
  trio.pullOut("one");
  while (all.length === 0) await trio.put(db, 1);
  const { error, ...degraded } = all[0]?.[1] ?? {};
  assert.deepEqual([all[0]?.[0], degraded], ["degraded", { primary, replica: one }]);
  assert.equal(error.code, codes.REPLICA_GONE);
  trio.putBack("one");
  await trio.untilRejoined(db, one);
  assert.deepEqual(all[1], ["rejoined", { primary, replica: one }]);
  const rotten = { copy: two, page: 3, owner: "t" };
  db.replication.emit("rot", rotten);
  assert.deepEqual(all[2], ["rot", { primary, ...rotten }]);
  db.close();
  const strict = trio.open({ onReplicaFailure: "stop" });
  trio.pullOut("two");
  assert.throws(() => {
    for (;;) strict.exec("INSERT INTO t(data) VALUES (1)");
  });
  assert.deepEqual([all[3]?.[0], all[3]?.[1].error.code], ["failed", codes.REPLICA_GONE]);
  trio.putBack("two");
  strict.close();
  trio.open().close();
});

test("docs/observe.md lists every channel, and no other", () => {
  const text = fs.readFileSync(path.join(import.meta.dirname, "../../docs/observe.md"), "utf8");
  const listed = [...text.matchAll(/^\| `(lockstep:[a-z-]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(
    listed.sort(),
    Object.values(channels)
      .map(({ name }) => String(name))
      .sort(),
  );
});
