/**
 * The failover of docs/failover.md, with the real primary and an archive: what it acknowledged is in the promoted
 * standby, it is refused from then on, the new primary goes on in the same stream, and standbys follow that.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import type { DatabaseSync } from "../../src/index.ts";
import { follow } from "../../src/standby/follow.ts";
import { restoreStream } from "../../src/standby/restore.ts";
import { Streamed } from "../stream/streamed.ts";
import { equal, failovers, once, standbyOf } from "./failovers.ts";

failovers((t) => Streamed.make(t), false);

test("a stream that is written, sealed, by the real primary is followed and restored", async (t) => {
  process.env["LOCKSTEP_TEST_STANDBY_KEYS"] = `1:${"ef".repeat(32)}`;
  t.after(() => delete process.env["LOCKSTEP_TEST_STANDBY_KEYS"]);
  const made = await Streamed.make(t, "?keys=env:LOCKSTEP_TEST_STANDBY_KEYS");
  const { world, log, keys, standby } = await standbyOf(t, made);
  const restored = path.join(world.root, "restored.db");
  for (let life = 0; life < 3; life++) {
    const use = (db: DatabaseSync): void => {
      world.put(db, 60, 2000);
      db.exec("UPDATE t SET data = zeroblob(10) WHERE n % 7 = 0; VACUUM");
    };
    await world.life(use, { checkpointBytes: 65536 });
    await follow(log, standby, { ...once, keys });
    await equal(world.primary, standby);
    await restoreStream(log, restored, { force: true, keys });
    await equal(world.primary, restored);
  }
  await assert.rejects(follow(log, `${standby}-2`, once), { code: "ERR_LOCKSTEP_BAD_OPTION" });
});
