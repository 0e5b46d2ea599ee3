/**
 * A replica that was opened as a primary took office on a new timeline, but until its next opening
 * `durable()` named positions on the old one; and no record said where the timelines part.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatPosition } from "../../src/lineage/position.ts";
import { Scene } from "../support/scene.ts";

test("a promoted replica names its positions on its own timeline, from its first commit on", async (t) => {
  const scene = Scene.make(t);
  const first = scene.open();
  first.put(3);
  const before = await first.hub.replication.durable();
  const crashed = Scene.swapped(t, scene.crashImage());
  first.close();

  const db = crashed.open({ replicas: [] });
  const onRecord = crashed.sidecar(crashed.primary).history.map(formatPosition);
  assert.ok(onRecord.includes(before), "where the timelines part is on record");
  db.put(1);
  assert.match(await db.hub.replication.durable(), /^2\//);
  assert.match(db.hub.replication.status.primary.position, /^2\//);
  db.close();
});

test("so is it beside a replica of the new primary", async (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const first = scene.open();
  first.put(3);
  const before = await first.hub.replication.durable();
  const crashed = Scene.swapped(t, scene.crashImage());
  first.close();
  const [, other] = crashed.replicas as [string, string];

  const db = crashed.open({ replicas: [other] });
  db.put(1);
  const onRecord = crashed.sidecar(other).history.map(formatPosition);
  assert.ok(onRecord.includes(before));
  db.close();
});
