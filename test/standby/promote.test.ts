/**
 * A standby becomes the primary: nothing that was acknowledged is lost, and of several promotions one wins.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { describe, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { DatabaseSync as Replicated } from "../../src/index.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { follow } from "../../src/standby/follow.ts";
import { promote } from "../../src/standby/promote.ts";
import { restoreStream } from "../../src/standby/restore.ts";
import { Reading } from "../../src/stream/reading.ts";
import { verify } from "../../src/verify.ts";
import { assertEqual, insert, world } from "./world.ts";

const stateOf = (file: string) => readSidecar(loadDriver("node:sqlite"), file)?.state;

describe("a promotion", () => {
  test("brings the standby to the stream's end, and fences there", async (t) => {
    const w = await world(t);
    await follow(w.log, w.dest, { once: true });
    await w.writer.run(insert(5));
    const report = await promote(w.log, w.dest);
    assert.equal(report.timeline, 2);
    assert.equal(report.position.slice(2), formatPosition(w.writer.position).slice(2));
    await assertEqual(w);
    const state = stateOf(w.dest);
    assert.equal(state?.role, "primary");
    assert.equal(state?.timeline, 2);
    // The old primary's next message finds its place taken.
    await assert.rejects(w.writer.run(insert(1)), /is another's/);
    const reading = new Reading(w.log.name, 1);
    for await (const entry of w.log.read(1, { to: report.message })) reading.take(entry);
    assert.equal(reading.state.timeline, 2);
    await assert.rejects(follow(w.log, w.dest, { once: true }), {
      code: "ERR_LOCKSTEP_REPLICA_UNKNOWN",
      message: /on record as a primary/,
    });
  });

  for (const [name, make] of [
    ["a standby", follow],
    ["a restored copy", restoreStream],
  ] as const) {
    test(`of ${name} leaves a primary that goes on, with replicas of its own`, async (t) => {
      const w = await world(t);
      await w.writer.run(insert(5));
      w.writer.checkpoint();
      await w.writer.run(insert(5));
      await make(w.log, w.dest, { once: true } as never);
      await promote(w.log, w.dest);
      const replica = path.join(path.dirname(w.dest), "replica.db");
      const db = new Replicated(w.dest, { replicas: [replica] });
      db.exec(insert(2));
      db.close();
      const report = await verify(w.dest, replica);
      assert.ok(report.identical);
    });
  }

  test("of two at one time: one wins, and the other says so and follows", async (t) => {
    const w = await world(t);
    const [one, two] = [w.dest, `${w.dest}-2`];
    for (const dest of [one, two]) await follow(w.log, dest, { once: true });
    // Both stand before the marker until both do.
    let waiting = 0;
    const both = Promise.withResolvers<void>();
    const onStep = async (step: string): Promise<void> => {
      if (step !== "marker") return;
      waiting++;
      if (waiting === 2) both.resolve();
      await both.promise;
    };
    const outcomes = await Promise.allSettled(
      [one, two].map((dest) => promote(w.log, dest, { onStep })),
    );
    const [lost, ...more] = outcomes.filter(({ status }) => status === "rejected");
    assert.equal(more.length, 0);
    assert.equal((lost as PromiseRejectedResult).reason.code, "ERR_LOCKSTEP_FENCED");
    const [winner, loser] = outcomes[0]?.status === "fulfilled" ? [one, two] : [two, one];
    assert.equal(stateOf(winner)?.role, "primary");
    assert.equal(stateOf(loser)?.role, "replica");
    await follow(w.log, loser, { once: true });
    assert.equal(stateOf(loser)?.timeline, 2);
    await assertEqual(w);
  });

  test("that was cut off can be run again", async (t) => {
    const w = await world(t);
    await follow(w.log, w.dest, { once: true });
    const cut = promote(w.log, w.dest, {
      onStep(step) {
        if (step === "record") throw new Error("cut off");
      },
    });
    await assert.rejects(cut, /cut off/);
    assert.equal(stateOf(w.dest)?.role, "replica");
    const { timeline } = await promote(w.log, w.dest);
    assert.equal(timeline, 3);
    assert.equal(stateOf(w.dest)?.role, "primary");
    await assertEqual(w);
  });

  test("is refused of what is no standby", async (t) => {
    const w = await world(t);
    await assert.rejects(promote(w.log, `${w.dest}-missing`), {
      code: "ERR_LOCKSTEP_NOT_A_DATABASE",
    });
    await assert.rejects(promote(w.log, w.writer.file), { code: "ERR_LOCKSTEP_REPLICA_UNKNOWN" });
  });
});
