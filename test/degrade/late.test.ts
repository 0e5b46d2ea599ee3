/** What hung while commits went on without a replica, and then goes on: it spoils nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import { calls } from "../faults/calls.ts";
import { ok } from "../faults/pair.ts";
import { type Call, type Kind, skip } from "../faults/shim.ts";
import { elsewhere } from "../support/program.ts";
import { comesBack, Group, hang, TIMEOUT, without } from "./group.ts";

/** The call that hangs, once there is one: of this kind, on this path. */
async function hanging(group: Group, kind: Kind, path: string): Promise<Call> {
  for (;;) {
    const call = group.pair
      .record()
      .find((each) => each.detail === "hangs" && each.kind === kind && each.path === path);
    if (call) return call;
    ok(await group.pair.insert(9000)); // with pages that no other commit writes
  }
}

test("the thread of all copies hung as it wrote one that was let go since: its log stays", {
  skip,
}, async (t) => {
  const group = new Group(t, "node:sqlite", { ...TIMEOUT, checkpointBytes: 300_000 });
  const { pair } = group;
  await without(group, hang("write", "other/app.db"), 8, 200_000);
  const late = await hanging(group, "write", "other/app.db");
  const isLetGo = (path: string, by: (tid: number) => boolean): boolean =>
    pair.record().some((c) => c.path === path && c.detail === "unlock 0+0" && by(c.tid));
  while (!isLetGo("other/app.db-lockstep", () => true)) ok(await pair.insert());
  pair.faults.clear();
  pair.faults.set();
  while (!isLetGo("other/app.db", (tid) => tid === late.tid)) ok(await pair.insert());
  const removed = calls(pair).where("unlink", "other/app.db-wal");
  assert.equal(removed.filter(({ tid }) => tid === late.tid).length, 0);
  await comesBack(group);
});

test("the thread of all copies hung as it opened one: that one is lost, and not folded later", {
  skip,
}, async (t) => {
  const group = new Group(t, "node:sqlite", { ...TIMEOUT, checkpointBytes: 300_000 });
  const { pair } = group;
  await without(group, hang("open", "other/app.db"), 8, 200_000);
  const late = await hanging(group, "open", "other/app.db");
  pair.faults.clear();
  await comesBack(group);
  const written = calls(pair).where("write", "other/app.db");
  assert.equal(written.filter(({ tid }) => tid === late.tid).length, 0);
});

test("the primary's log is folded by another program while its file is copied: made anew", {
  skip,
}, async (t) => {
  const group = new Group(t, "node:sqlite");
  const { pair } = group;
  await pair.begin(group.replicas);
  pair.faults.set({ on: "write", path: "other/app.db-wal", does: "vanish" });
  await group.until("detached");
  pair.faults.clear();
  const fresh = "other/app.db-lockstep-new";
  pair.faults.set(hang("write", fresh)); // an empty disk is there now
  await hanging(group, "write", fresh);
  ok(await pair.insert(9000));
  const before = readFingerprint(pair.primary);
  elsewhere(pair.primary, ["PRAGMA wal_checkpoint(PASSIVE)"]);
  assert.notDeepEqual(readFingerprint(pair.primary), before);
  await comesBack(group);
  const record = calls(pair);
  const named = record.where("rename", "other/app.db").only();
  const begun = record.before(named).where("open", fresh);
  assert.equal(begun.filter(({ detail }) => detail.includes("create")).length, 2);
});
