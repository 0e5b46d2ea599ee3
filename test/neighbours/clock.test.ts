/**
 * A wall clock that jumps (clock.c): deadlines are kept by one that does not, and marks on files still say
 * what they say. Times of files that other programs change prove nothing any more; then pages are
 * compared.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import type { SidecarEvent } from "../../src/lineage/sidecar.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { verify } from "../../src/verify.ts";
import { failed, ok, Pair, TIMEOUT_MS } from "../faults/pair.ts";
import { skip as withoutShim } from "../faults/shim.ts";
import { buildLibrary, skipWithout } from "../support/preload.ts";
import { Scene } from "../support/scene.ts";

const library = buildLibrary(path.join(import.meta.dirname, "clock.c"));
const skip = withoutShim || skipWithout(library);

const DAY_S = 24 * 3600;
const YEAR_S = 365 * DAY_S;

/** Sets the clock of the pair's processes, so many seconds from the real one. */
function clockOf(pair: Pair): (offset: number) => void {
  const file = path.join(pair.faults.root, "process", "clock");
  fs.writeFileSync(file, Buffer.alloc(8));
  const fd = fs.openSync(file, "r+");
  assert.ok("path" in library);
  Object.assign(pair.faults.env, {
    LD_PRELOAD: `${pair.faults.env["LD_PRELOAD"]}:${library.path}`,
    CLOCK_OFFSET: file,
  });
  return (offset) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(offset));
    fs.writeSync(fd, bytes, 0, 8, 0);
  };
}

function events(copy: string): readonly SidecarEvent[] {
  return readSidecar(loadDriver("node:sqlite"), copy)?.events ?? [];
}

describe("the clock jumps", { skip, concurrency: 2 }, () => {
  for (const [where, offset] of [
    ["forwards", YEAR_S],
    ["backwards", -YEAR_S],
  ] as const) {
    test(`${where} while a replica hangs: the deadline stays where it was`, async (t) => {
      const pair = new Pair(t, "node:sqlite", { replicaTimeout: TIMEOUT_MS });
      const set = clockOf(pair);
      await pair.begin();
      pair.hangs = true;
      pair.faults.set({ on: "sync", path: "replica/app.db-wal", does: "hang" });
      const inserting = pair.insert();
      await pair.faults.hanging();
      set(offset);
      const { milliseconds } = failed(await inserting, "REPLICA_TIMEOUT");
      assert.ok(milliseconds > TIMEOUT_MS * 0.9, `it waited only ${milliseconds} ms`);
      assert.ok(milliseconds < TIMEOUT_MS * 4, `it took ${milliseconds} ms`);
      ok(await pair.close());
      await pair.recovers({ replicaTimeout: TIMEOUT_MS });
    });
  }

  test("between openings and in them: every start finds the copies in step", async (t) => {
    const pair = new Pair(t, "better-sqlite3", { checkpointBytes: 30_000 });
    const set = clockOf(pair);
    for (const offset of [0, 10 * YEAR_S, -10 * YEAR_S, -DAY_S, 0]) {
      set(offset);
      if (offset === 0 && pair.acknowledged.size === 0) await pair.begin();
      else ok(await pair.open());
      ok(await pair.insert(20_000));
      set(-offset);
      ok(await pair.insert(20_000));
      ok(await pair.close());
      await pair.atRest();
    }
    const years = new Set(events(pair.primary).map(({ at }) => at.slice(0, 4)));
    assert.ok(years.size >= 3, `the clock did jump: ${[...years]}`);
    const compared = events(pair.replica).filter(({ what }) => what !== "closed");
    assert.deepEqual(
      compared.map(({ what }) => what),
      ["copied"],
    );
  });
});

describe("another program sets the times of a file", { concurrency: 2 }, () => {
  for (const side of ["primary", "replica"] as const) {
    test(`of the ${side}, and nothing else: the pages are compared, and equal`, (t) => {
      const scene = Scene.make(t);
      scene.life((db) => db.put(3));
      fs.utimesSync(scene[side], 0, 0);
      scene.life((db) => {
        assert.ok(db.phases().includes("compare"));
        db.put(1);
      });
    });
  }

  test("back to what they were, over bytes that it changed: a start cannot see that, verify does", async (t) => {
    const scene = Scene.make(t);
    scene.life((db) => db.put(3));
    const { atime, mtime } = fs.statSync(scene.replica);
    const before = fs.statSync(scene.replica, { bigint: true }).mtimeNs;
    const fd = fs.openSync(scene.replica, "r+");
    fs.writeSync(fd, Buffer.from([1]), 0, 1, fs.fstatSync(fd).size - 50);
    fs.futimesSync(fd, atime, mtime);
    fs.closeSync(fd);
    if (fs.statSync(scene.replica, { bigint: true }).mtimeNs !== before) {
      scene.refuses("DIVERGED"); // it could not set them as finely as they were
    }
    const { identical, differing } = await verify(scene.primary, scene.replica);
    assert.deepEqual({ identical, differing }, { identical: false, differing: 1 });
  });
});
