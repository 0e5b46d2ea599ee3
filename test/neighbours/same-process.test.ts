/**
 * A second SQLite library in this process, and whoever opens and closes the files as they are: closing
 * takes this process's locks away, and then other programs find nobody in their way. What follows is
 * noticed at the next commit, and nothing acknowledged is lost: the other copy has it.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import type { DriverName } from "../../src/driver.ts";
import { LockstepError } from "../../src/errors.ts";
import { sync } from "../../src/sync.ts";
import { scratch } from "../scratch.ts";
import { type Db, Scene } from "../support/scene.ts";
import { shell, skip } from "./shell.ts";

const NAMED = {
  primary: ["ERR_LOCKSTEP_PRIMARY_IO", "ERR_LOCKSTEP_PRIMARY_CHANGED"],
  replica: ["ERR_LOCKSTEP_REPLICA_GONE", "ERR_LOCKSTEP_REPLICA_CHANGED"],
} as const;

type Side = keyof typeof NAMED;

/** Opens and closes the copy with the library that is not `mine`. */
function otherLibrary(mine: DriverName, file: string): void {
  const Other =
    mine === "node:sqlite" ? createRequire(import.meta.url)("better-sqlite3") : DatabaseSync;
  const db = new Other(file) as DatabaseSync;
  assert.equal(db.prepare("SELECT count(*) AS n FROM t").get()?.["n"], 5);
  db.close();
}

function readRaw(file: string): void {
  for (const suffix of ["", "-wal", "-shm"]) fs.readFileSync(file + suffix);
}

/** Commits until it is refused, while the shell tries to cut the log off; the refusal. */
function commitUntilRefused(db: Db, file: string): LockstepError {
  for (let i = 0; i < 5; i++) {
    try {
      db.put(1, 3000);
    } catch (error) {
      assert.ok(error instanceof LockstepError, String(error));
      return error;
    }
    shell(file, "PRAGMA wal_checkpoint(TRUNCATE);");
  }
  throw new Error("nothing was noticed");
}

function holdsAcknowledged(scene: Scene, copy: string): void {
  const found = new Set(shell(copy, "SELECT n FROM t;").split("\n").map(Number));
  assert.deepEqual(
    [...scene.acknowledged.keys()].filter((n) => !found.has(n)),
    [],
    `in ${copy}`,
  );
}

describe("in this process", { skip, concurrency: 2 }, () => {
  for (const [how, driver, side] of [
    ["the other library", "node:sqlite", "primary"],
    ["the other library", "node:sqlite", "replica"],
    ["the other library", "better-sqlite3", "primary"],
    ["the other library", "better-sqlite3", "replica"],
    ["a reader of the raw files", "node:sqlite", "primary"],
    ["a reader of the raw files", "better-sqlite3", "replica"],
  ] as const satisfies [string, DriverName, Side][]) {
    test(`${how} opens and closes the ${side} that ${driver} has: named at the next commit`, async (t) => {
      const scene = Scene.make(t, { driver });
      const db = scene.open();
      db.put(5, 3000);
      if (how === "the other library") otherLibrary(driver, scene[side]);
      else readRaw(scene[side]);
      const refusal = commitUntilRefused(db, scene[side]);
      assert.ok((NAMED[side] as readonly string[]).includes(refusal.code), refusal.message);
      db.abandon();
      const good = side === "primary" ? "replica" : "primary";
      holdsAcknowledged(scene, scene[good]);
      await sync(scene.primary, scene.replica, { from: good });
      scene.life((later) => later.exec("INSERT INTO t VALUES(400000, 'and on it goes')"));
    });
  }
});

test("another process opens and closes the raw files of both copies: nothing happens", {
  skip,
}, (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  const place = scratch(t);
  for (let i = 0; i < 3; i++) {
    db.put(5, 3000);
    for (const side of ["primary", "replica"] as const) {
      const files = ["", "-wal", "-shm", "-lockstep"].map((suffix) => scene[side] + suffix);
      assert.equal(spawnSync("cp", [...files, place]).status, 0);
      assert.equal(shell(scene[side], "PRAGMA wal_checkpoint(TRUNCATE);").split("|")[0], "1");
    }
  }
  db.close();
});
