/** The failovers of docs/failover.md, for any place that a stream can have. */
import assert from "node:assert/strict";
import path from "node:path";
import { DatabaseSync as Plain } from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import { DatabaseSync } from "../../src/index.ts";
import { follow } from "../../src/standby/follow.ts";
import { promote } from "../../src/standby/promote.ts";
import { restoreStream } from "../../src/standby/restore.ts";
import { openStream } from "../../src/stream/open.ts";
import { verify } from "../../src/verify.ts";
import type { Streamed } from "../stream/streamed.ts";

export const once = { once: true };

function rowsOf(file: string): number {
  const db = new Plain(file);
  try {
    return Number(db.prepare("SELECT count(*) AS n FROM t").get()?.["n"]);
  } finally {
    db.close();
  }
}

export async function equal(a: string, b: string): Promise<void> {
  const report = await verify(a, b);
  assert.ok(report.identical, `${report.differing} pages differ`);
  assert.deepEqual(report.integrity, { a: "ok", b: "ok" });
}

export async function standbyOf(t: TestContext, world: Streamed) {
  const { log, keys } = await openStream(world.address);
  t.after(() => log.close());
  return { world, log, keys, standby: path.join(world.root, "standby.db") };
}

/** @param make a primary that is not there yet, and its stream */
export function failovers(make: (t: TestContext) => Promise<Streamed>, skip: string | false): void {
  const made = async (t: TestContext) => standbyOf(t, await make(t));

  describe("a failover", { skip }, () => {
    test("of a primary that is still running, and does not know", async (t) => {
      const { world, log, standby } = await made(t);
      const old = world.open({ checkpointBytes: 65536 });
      world.put(old, 100);
      await follow(log, standby, once);
      world.put(old, 100);
      const { timeline } = await promote(log, standby);
      assert.equal(timeline, 2);
      assert.throws(() => world.put(old), { code: "ERR_LOCKSTEP_FENCED" });
      old.close();
      assert.equal(rowsOf(standby), world.acknowledged);

      // The new one goes on, also after its log has begun anew; the old one stays refused.
      const db = new DatabaseSync(standby, { replicas: [world.address], checkpointBytes: 65536 });
      const insert = db.prepare("INSERT INTO t VALUES(?, randomblob(100))");
      for (let n = world.acknowledged + 1; n <= world.acknowledged + 200; n++) insert.run(n);
      db.close();
      assert.throws(() => world.open(), { code: "ERR_LOCKSTEP_FENCED" });
      const second = path.join(world.root, "second.db");
      await follow(log, second, once);
      await equal(standby, second);
      assert.equal(rowsOf(second), world.acknowledged + 200);
    });

    test("of a primary that is gone, to what is restored from the stream", async (t) => {
      const { world, log, standby } = await made(t);
      await world.life((db) => world.put(db, 50));
      await restoreStream(log, standby);
      await promote(log, standby);
      assert.equal(rowsOf(standby), world.acknowledged);
      const db = new DatabaseSync(standby, { replicas: [world.address] });
      db.exec("INSERT INTO t VALUES(9999, NULL)");
      db.close();
      const second = path.join(world.root, "second.db");
      await follow(log, second, once);
      await equal(standby, second);
    });

    test("a standby follows both primaries, one after the other", async (t) => {
      const { world, log, standby } = await made(t);
      const watcher = path.join(world.root, "watcher.db");
      await world.life((db) => world.put(db, 20));
      for (const dest of [standby, watcher]) await follow(log, dest, once);
      await promote(log, standby);
      const db = new DatabaseSync(standby, { replicas: [world.address] });
      db.exec("INSERT INTO t VALUES(9999, NULL)");
      await follow(log, watcher, once);
      db.exec("INSERT INTO t VALUES(10000, NULL)");
      db.close();
      const { timeline } = await follow(log, watcher, once);
      assert.equal(timeline, 2);
      await equal(standby, watcher);
    });

    test("the old primary's machine comes back as a standby of the new one", async (t) => {
      const { world, log, standby } = await made(t);
      await world.life((db) => world.put(db, 20));
      await follow(log, standby, once);
      await promote(log, standby);
      await assert.rejects(follow(log, world.primary, once), {
        code: "ERR_LOCKSTEP_REPLICA_UNKNOWN",
        message: /on record as a primary/,
      });
      await restoreStream(log, world.primary, { force: true });
      await follow(log, world.primary, once);
      await equal(standby, world.primary);
    });
  });
}
