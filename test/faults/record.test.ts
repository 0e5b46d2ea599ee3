/**
 * The record beside a copy is never behind what it speaks of: the process is killed just before each
 * step that rests on the record, and the record is read.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, test } from "node:test";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import type { SidecarState } from "../../src/lineage/sidecar.ts";
import { decodeWalHeader, sameSalts, type WalHeader } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { driversOr } from "../support/drivers.ts";
import { ok, Pair } from "./pair.ts";
import { leftByAnother, scenarios } from "./scenarios.ts";
import { type Kind, type Rule, skip } from "./shim.ts";

/** Every commit is folded; the next begins a generation. */
const TINY = { checkpointBytes: 1 };

const before = (on: Kind, path: string): Rule => ({ on, path, does: "killgroup" });

function headerOf(log: string): WalHeader {
  return decodeWalHeader(fs.readFileSync(log)) as WalHeader;
}

/** The record says of the file alone what is true of it. */
function foldedIsTrue(copy: string, { folded, folding }: SidecarState, log: string): void {
  assert.equal(folding, false);
  assert.deepEqual(folded?.file, readFingerprint(copy), "the fingerprint is the file's");
  const scan = scanLog(log);
  if (!scan?.commits.length || !folded) return;
  assert.ok(sameSalts(folded.position, scan.header));
  assert.equal(folded.position.frame, scan.commits.at(-1)?.frame);
}

for (const driver of driversOr("node:sqlite")) {
  describe(`with ${driver}`, { skip, concurrency: 2 }, () => {
    for (const side of ["main", "replica"] as const) {
      test(`${side}: a checkpoint is on record before the file is written`, async (t) => {
        const pair = new Pair(t, driver);
        const copy = side === "main" ? pair.primary : pair.replica;
        await pair.begin();
        ok(await pair.close());
        ok(await pair.open());
        ok(await pair.insert());
        await pair.dies(before("write", `${side}/app.db`), () => pair.close());
        assert.equal(pair.recordOf(copy).folding, true);
        await pair.recovers();
      });

      test(`${side}: what the file holds is on record before the log restarts`, async (t) => {
        const pair = new Pair(t, driver, TINY);
        const copy = side === "main" ? pair.primary : pair.replica;
        await pair.begin();
        await pair.dies(before("write", "main/app.db-wal"), () => pair.insert());
        foldedIsTrue(copy, pair.recordOf(copy), `${copy}-wal`);
        await pair.recovers();
      });
    }

    test("the replica's generation is on record before its header is written", async (t) => {
      const pair = new Pair(t, driver, TINY);
      await pair.begin();
      const last = headerOf(`${pair.replica}-wal`);
      await pair.dies(before("write", "replica/app.db-wal"), () => pair.insert());
      const { generation, folded } = pair.recordOf(pair.replica);
      const next = headerOf(`${pair.primary}-wal`);
      assert.ok(generation && folded);
      assert.ok(!sameSalts(last, next) && sameSalts(generation, next));
      assert.deepEqual(generation.base, folded.position);
      assert.ok(sameSalts(headerOf(`${pair.replica}-wal`), last));
      await pair.recovers();
    });

    test("the primary's generation is on record before a commit in it returns", async (t) => {
      const pair = new Pair(t, driver, TINY);
      await pair.begin();
      ok(await pair.insert());
      // Nothing is written after the acknowledgement until the checkpoint: which is now not due.
      await pair.restart();
      ok(await pair.open({ checkpointBytes: 1 << 20 }));
      ok(await pair.insert());
      await pair.restart();
      const { generation } = pair.recordOf(pair.primary);
      assert.ok(generation && sameSalts(generation, headerOf(`${pair.primary}-wal`)));
      await pair.recovers();
    });

    test("a copy is on record before it is named", async (t) => {
      const pair = new Pair(t, driver);
      await scenarios["a database that was never replicated"].prepare(pair);
      await pair.dies(before("rename", "replica/app.db"), () => pair.open());
      const { folded, databaseId } = pair.recordOf(pair.replica);
      const primary = pair.recordOf(pair.primary);
      assert.equal(databaseId, primary.databaseId);
      assert.deepEqual(folded?.file, readFingerprint(`${pair.replica}-lockstep-new`));
      assert.deepEqual(folded?.position, primary.folded?.position);
      await pair.recovers();
    });
  });
}

describe("the start", { skip, concurrency: 2 }, () => {
  test("a log that is rolled forward is on record before it is named", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await scenarios["a primary that lost its log's end"].prepare(pair);
    await pair.dies(before("rename", "main/app.db-wal"), () => pair.open());
    const { generation } = pair.recordOf(pair.primary);
    const next = headerOf(`${pair.primary}-lockstep-new`);
    assert.ok(generation && sameSalts(generation, next));
    await pair.recovers();
  });

  test("and that the primary's own is folded, before that is written and removed", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await scenarios["a primary that lost its log's end"].prepare(pair);
    void pair.subject;
    await pair.dies(before("write", "main/app.db"), () => pair.open());
    assert.equal(pair.recordOf(pair.primary).folding, true);
    await pair.dies(before("truncate", "main/app.db-wal"), () => pair.open());
    foldedIsTrue(pair.primary, pair.recordOf(pair.primary), `${pair.primary}-wal`);
    await pair.recovers();
  });

  test("a log that is installed is on record before it is named", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await pair.begin();
    await pair.restart();
    fs.rmSync(`${pair.replica}-wal`);
    await pair.dies(before("rename", "replica/app.db-wal"), () => pair.open());
    const { generation } = pair.recordOf(pair.replica);
    assert.ok(generation && sameSalts(generation, headerOf(`${pair.primary}-wal`)));
    await pair.recovers();
  });

  test("a re-synchronisation is on record before its log is named", async (t) => {
    const pair = new Pair(t, "node:sqlite", { checkpointBytes: 30_000 });
    await scenarios["a replica that lacks generations"].prepare(pair);
    await pair.dies(before("rename", "replica/app.db-wal"), () => pair.open());
    const { resync } = pair.recordOf(pair.replica);
    assert.ok(resync && sameSalts(resync, headerOf(`${pair.replica}-lockstep-new`)));
    await pair.recovers();
  });

  test("a primary that is restored is on record before it is named", async (t) => {
    const pair = new Pair(t, "node:sqlite", { restoreMissing: true });
    await scenarios["a primary that is missing"].prepare(pair);
    await pair.dies(before("rename", "main/app.db"), () => pair.open());
    const { folded } = pair.recordOf(pair.primary);
    assert.deepEqual(folded?.file, readFingerprint(`${pair.primary}-lockstep-new`));
    await pair.recovers();
  });

  test("that a database is folded that was never replicated", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    leftByAnother(pair.primary);
    pair.acknowledged.add(1001);
    await pair.dies(before("write", "main/app.db"), () => pair.open());
    assert.equal(pair.recordOf(pair.primary).folding, true);
    await pair.recovers();
  });

  test("a log that is installed in place of an older one is on record before it is named", async (t) => {
    const pair = new Pair(t, "node:sqlite", TINY);
    await pair.begin();
    await pair.dies(before("write", "replica/app.db-lockstep-amended"), () => pair.insert());
    fs.rmSync(`${pair.replica}-wal`);
    await pair.dies(before("rename", "replica/app.db-wal"), () => pair.open());
    const { generation } = pair.recordOf(pair.replica);
    assert.ok(generation && sameSalts(generation, headerOf(`${pair.primary}-wal`)));
    await pair.recovers();
  });

  test("before a first copy, that the primary is folded", async (t) => {
    const pair = new Pair(t, "node:sqlite");
    await pair.begin();
    await pair.restart();
    for (const suffix of ["", "-wal", "-lockstep"]) fs.rmSync(pair.replica + suffix);
    await pair.dies(before("write", "main/app.db"), () => pair.open());
    assert.equal(pair.recordOf(pair.primary).folding, true);
    await pair.recovers();
  });
});
