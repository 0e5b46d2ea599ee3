/** The record beside a primary that others write is never behind what it speaks of. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { Gate } from "../../src/gate/gate.ts";
import { DatabaseSync as Replicated } from "../../src/index.ts";
import { describeCopy } from "../../src/lineage/describe.ts";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import { readSidecar, type SidecarSnapshot } from "../../src/lineage/unlocked.ts";
import { replicate } from "../../src/replicate.ts";
import { sameSalts } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { assertAtRest } from "../support/files.ts";
import { World } from "./world.ts";

const PUT = "INSERT INTO entry(writer, n, data) VALUES('own', 1, randomblob(500))";

/** A connection of any program's that leaves checkpoints to others. */
function connect(t: TestContext, { primary }: World): DatabaseSync {
  const db = new DatabaseSync(primary);
  t.after(() => db.isOpen && db.close());
  db.exec("PRAGMA wal_autocheckpoint=0");
  return db;
}

function recordOf({ primary }: World): SidecarSnapshot {
  return readSidecar(loadDriver("node:sqlite"), primary) as SidecarSnapshot;
}

test("in a storm of commits, what the file holds is on record before the log restarts", async (t) => {
  const world = new World(t);
  const own = connect(t, world);
  const follower = await replicate(world.primary, [world.replica], { checkpointBytes: 100_000 });
  const checkpointed = new Promise<readonly [SidecarSnapshot, ReturnType<typeof scanLog>]>(
    (resolve) =>
      follower.replication.once("checkpoint", () => {
        storm.mock.restore();
        resolve([recordOf(world), scanLog(`${world.primary}-wal`)]);
      }),
  );
  // Whenever it has looked, somebody commits: there is never a gap between two commits.
  const pass = Gate.prototype.pass;
  const storm = t.mock.method(Gate.prototype, "pass", function looks(this: Gate): boolean {
    const news = pass.call(this);
    own.exec(PUT);
    return news;
  });
  for (let i = 0; i < 50; i++) own.exec(PUT);

  const [{ state }, log] = await checkpointed;
  const { folded } = state;
  assert.ok(folded && log && storm.mock.callCount() > 2);
  assert.ok(sameSalts(folded.position, log.header), "the record is of this log");
  assert.equal(folded.position.frame, log.commits.at(-1)?.frame, "and of the end of it");
  assert.deepEqual(folded.file, readFingerprint(world.primary));
  own.exec(PUT);
  const next = scanLog(`${world.primary}-wal`);
  assert.ok(next && !sameSalts(next.header, log.header), "the next commit began it anew");
  own.close();
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
});

test("from the start on others may fold, and the record says so", async (t) => {
  const world = new World(t);
  new Replicated(world.primary, { replicas: [world.replica] }).close();
  assert.equal(recordOf(world).state.folding, false, "nobody does now");
  const own = connect(t, world);
  own.exec(PUT);
  const follower = await replicate(world.primary, [world.replica]);
  const record = recordOf(world);
  assert.equal(record.state.folding, true);
  // Killed now, the next start finds a file that was written beneath its log.
  const { mtimeMs } = fs.statSync(world.primary);
  own.exec("PRAGMA wal_checkpoint(PASSIVE)");
  assert.notEqual(fs.statSync(world.primary).mtimeMs, mtimeMs);
  const { position, because } = describeCopy(world.primary, record);
  assert.ok(position, because);
  own.close();
  await follower.stop();
  assertAtRest(world.primary, [world.replica]);
});
