/**
 * A standby that was opened as a primary was on record as one, on a new timeline, before its stream was its own. The old
 * primary still committed: the opening was refused, and the standby could neither follow any more nor be opened.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { DatabaseSync as Plain } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { Mirror } from "../../src/gate/mirror.ts";
import { DatabaseSync } from "../../src/index.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { follow } from "../../src/standby/follow.ts";
import { equal, once, standbyOf } from "../standby/failovers.ts";
import { Streamed } from "../stream/streamed.ts";

const stateOf = (file: string) => readSidecar(loadDriver("node:sqlite"), file)?.state;

/** As others read it: nothing is folded when it is closed. */
function rowsOf(file: string): number {
  const db = new Plain(file, { readOnly: true });
  try {
    return Number(db.prepare("SELECT count(*) AS n FROM t").get()?.["n"]);
  } finally {
    db.close();
  }
}

/** Has `meanwhile` happen when the next opening has seen all copies, and none has been attached. */
function beforeAttaching(t: TestContext, meanwhile: () => void): void {
  const { attach } = Mirror.prototype;
  const restore = (): void => {
    Mirror.prototype.attach = attach;
  };
  t.after(restore);
  Mirror.prototype.attach = function (timeline) {
    restore();
    meanwhile();
    this.attach(timeline);
  };
}

async function standby(t: TestContext) {
  const made = await standbyOf(t, await Streamed.make(t));
  const old = made.world.open();
  t.after(() => old.close());
  made.world.put(old, 5);
  await follow(made.log, made.standby, once);
  return { ...made, old };
}

test("a standby takes office only with its stream: the old primary committed in between", async (t) => {
  const { world, log, standby: file, old } = await standby(t);
  const replicas = [world.address];
  beforeAttaching(t, () => world.put(old));
  assert.throws(() => new DatabaseSync(file, { replicas }), { code: "ERR_LOCKSTEP_LOCKED" });
  const { role, timeline } = stateOf(file) ?? {};
  assert.deepEqual({ role, timeline }, { role: "replica", timeline: 1 });

  // It goes on as a standby, and the primary as the primary.
  world.put(old);
  await follow(log, file, once);
  assert.equal(rowsOf(file), world.acknowledged);
  // And it can be opened: this time nobody comes in between.
  world.put(old);
  const db = new DatabaseSync(file, { replicas });
  assert.throws(() => world.put(old), { code: "ERR_LOCKSTEP_FENCED" });
  db.prepare("INSERT INTO t VALUES(?, NULL)").run(world.acknowledged + 1);
  db.close();
  assert.equal(rowsOf(file), world.acknowledged + 1);
  assert.equal(stateOf(file)?.timeline, 2);
});

test("an opening that is cut off when it has the stream leaves a standby, which goes on", async (t) => {
  const { world, log, standby: file, old } = await standby(t);
  const replica = path.join(world.root, "replica.db");
  const replicas = [world.address, replica];
  const { update } = Sidecar.prototype;
  t.after(() => {
    Sidecar.prototype.update = update;
  });
  Sidecar.prototype.update = function (change, note) {
    if (change.role === "primary") throw new Error("cut off");
    update.call(this, change, note);
  };
  assert.throws(() => new DatabaseSync(file, { replicas }), /cut off/);
  Sidecar.prototype.update = update;
  assert.equal(stateOf(file)?.role, "replica");
  assert.equal(stateOf(replica)?.timeline, 1, "no replica is ahead of its primary's record");
  assert.throws(() => world.put(old), { code: "ERR_LOCKSTEP_FENCED" });

  // Another may have been promoted, as far as it can see: it says how to go on.
  assert.throws(() => new DatabaseSync(file, { replicas }), {
    code: "ERR_LOCKSTEP_FENCED",
    next: /lockstep follow --once/,
  });
  await follow(log, file, once);
  const db = new DatabaseSync(file, { replicas });
  db.prepare("INSERT INTO t VALUES(?, NULL)").run(world.acknowledged + 1);
  db.close();
  assert.equal(stateOf(file)?.timeline, 3);
  await equal(file, replica);
});
