// Goal: a restore gives DEST exactly what the replica holds, or leaves it as it was; whatever stands
//   beside DEST is not mixed into it, wherever the restore is cut off.
// Method: copies made by the drop-in; a child is killed before each step.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { codes, type LockstepError } from "../src/errors.ts";
import { keepLeft, readLeft } from "../src/lineage/left-at.ts";
import { originPosition } from "../src/lineage/position.ts";
import { restore } from "../src/restore.ts";
import { verify } from "../src/verify.ts";
import { lockstep, lockstepJson } from "./cli/lockstep.ts";
import { ADD_ONE, Pair, plain, plainLeavingLog, replicate, rowsOf } from "./cli/pair.ts";
import { startWriter } from "./cli/writer.ts";
import { contentsOf } from "./scratch.ts";

const failsWith = (code: string) => (error: LockstepError) => error.code === code;

/** The files at and beside a copy, but for its record, which says who locked it last. */
function databaseOf(file: string): Record<string, string> {
  const all = contentsOf(path.dirname(file));
  return Object.fromEntries(Object.entries(all).filter(([name]) => !name.endsWith("-lockstep")));
}

function beside(file: string): string[] {
  return fs.readdirSync(path.dirname(file)).filter((name) => !name.includes(".set-aside-"));
}

describe("to a place where nothing is", () => {
  test("DEST equals the replica, and the application starts with both in step", async (t) => {
    const pair = new Pair(t).replicate(ADD_ONE);
    const dest = pair.path("dest");
    const report = await restore(pair.replica, dest);
    assert.deepEqual(
      [report.dest, report.setAside, report.fenced, report.timeline],
      [dest, null, true, 2],
    );
    assert.deepEqual(fs.readFileSync(dest), fs.readFileSync(pair.replica));
    assert.deepEqual(beside(dest), ["app.db", "app.db-lockstep"]);
    assert.equal(fs.statSync(dest).mode, fs.statSync(pair.replica).mode);
    const { json } = lockstepJson("sync", dest, pair.replica);
    assert.deepEqual([json.before.relation, json.setAside], ["in-step", null]);
    replicate(dest, pair.replica, ADD_ONE);
    assert.deepEqual([rowsOf(dest), rowsOf(pair.replica)], [502, 502]);
  });

  test("the old primary is refused when it comes back", async (t) => {
    const pair = new Pair(t).replicate();
    await restore(pair.replica, pair.path("dest"));
    const old = fs.readFileSync(pair.primary);
    assert.throws(() => replicate(pair.primary, pair.replica), failsWith(codes.FENCED));
    assert.deepEqual(fs.readFileSync(pair.primary), old);
  });

  test("a replica as a crash leaves it, log and all", async (t) => {
    const pair = new Pair(t).replicate();
    const writer = await startWriter(t, pair.primary, pair.replica);
    const ended = new Promise((resolve) => writer.child.once("close", resolve));
    writer.child.kill("SIGKILL");
    await ended;
    assert.ok(fs.statSync(`${pair.replica}-wal`).size > 0);
    const dest = pair.path("dest");
    await restore(pair.replica, dest);
    assert.equal((await verify(dest, pair.replica)).identical, true);
    assert.equal(lockstepJson("sync", dest, pair.replica).json.before.relation, "in-step");
  });

  test("a replica whose position is not proven: the two are in step afterwards", async (t) => {
    const pair = new Pair(t).replicate();
    plain(pair.replica, ADD_ONE);
    const dest = pair.path("dest");
    const report = await restore(pair.replica, dest);
    assert.equal(report.fenced, true);
    assert.equal(lockstepJson("sync", dest, pair.replica).json.before.relation, "in-step");
    assert.equal(rowsOf(dest), 501);
  });

  test("a database that never was a replica: a copy of its own, no record", async (t) => {
    const pair = new Pair(t);
    const dest = pair.path("dest");
    const report = await restore(pair.primary, dest);
    assert.deepEqual([report.position, report.timeline, report.fenced], [null, null, false]);
    assert.deepEqual([beside(dest), beside(pair.primary)], [["app.db"], ["app.db"]]);
  });

  test("a third copy that is behind is brought forward by the restored one", async (t) => {
    const pair = new Pair(t).replicate();
    const third = pair.path("third");
    replicate(pair.primary, third);
    pair.replicate(ADD_ONE);
    const dest = pair.path("dest");
    await restore(pair.replica, dest);
    assert.equal(lockstepJson("sync", dest, third).json.before.relation, "behind");
    assert.equal(rowsOf(third), 501);
  });
});

describe("over a database", () => {
  test("without --force: DEST_EXISTS, and nothing is changed", async (t) => {
    const pair = new Pair(t).replicate();
    const before = databaseOf(pair.primary);
    await assert.rejects(restore(pair.replica, pair.primary), failsWith(codes.DEST_EXISTS));
    assert.deepEqual(databaseOf(pair.primary), before);
    const { status, json } = lockstepJson("restore", pair.replica, pair.primary);
    assert.deepEqual([status, json.error.code], [1, codes.DEST_EXISTS]);
  });

  test("with --force it is set aside whole, its log too", async (t) => {
    const pair = new Pair(t).replicate();
    plainLeavingLog(pair.primary, ADD_ONE, ADD_ONE);
    const { status, json } = lockstepJson("restore", "--force", pair.replica, pair.primary);
    assert.equal(status, 0);
    assert.deepEqual(beside(pair.primary), ["app.db", "app.db-lockstep"]);
    assert.equal(rowsOf(pair.primary), 500);
    assert.equal(rowsOf(json.setAside), 502);
    assert.match(json.setAside, /app\.db\.set-aside-\d{4}-\d\d-\d\dT/);
    assert.equal(lockstep("status", json.setAside, pair.replica).status, 1, "fenced");
  });

  test("what proves where its asynchronous archives are goes with it", async (t) => {
    const pair = new Pair(t).replicate();
    keepLeft(pair.primary, [{ ...originPosition(1), frame: 7 }]);
    const { setAside } = await restore(pair.replica, pair.primary, { force: true });
    assert.deepEqual(
      readLeft(pair.primary),
      [],
      "it may have been further than what stands here now",
    );
    assert.equal(readLeft(String(setAside)).length, 1);
  });

  test("a stale -wal, -shm and -journal beside a missing DEST are not replayed", async (t) => {
    const pair = new Pair(t).replicate();
    plainLeavingLog(pair.primary, "DELETE FROM entry");
    const log = fs.readFileSync(`${pair.primary}-wal`);
    fs.rmSync(pair.primary);
    fs.writeFileSync(`${pair.primary}-journal`, "not a journal");
    const { setAside } = await restore(pair.replica, pair.primary);
    assert.equal(setAside, null);
    assert.deepEqual(beside(pair.primary), ["app.db", "app.db-lockstep"]);
    assert.equal(rowsOf(pair.primary), 500);
    const kept = fs
      .readdirSync(path.dirname(pair.primary))
      .find((name) => /aside.*-wal$/.test(name));
    assert.deepEqual(fs.readFileSync(path.join(path.dirname(pair.primary), String(kept))), log);
  });

  test("an empty file is no database", async (t) => {
    const pair = new Pair(t).replicate();
    const dest = pair.path("dest");
    fs.writeFileSync(dest, "");
    assert.equal((await restore(pair.replica, dest)).setAside, null);
    assert.equal(rowsOf(dest), 500);
  });

  test("a symbolic link is followed", async (t) => {
    const pair = new Pair(t).replicate();
    const dest = pair.path("dest");
    fs.symlinkSync(pair.path("disk"), dest);
    await restore(pair.replica, dest);
    assert.ok(fs.lstatSync(dest).isSymbolicLink());
    assert.equal(rowsOf(pair.path("disk")), 500);
  });
});

describe("refusals leave everything as it was", () => {
  test("copies in use: LOCKED", async (t) => {
    const pair = new Pair(t).replicate();
    await startWriter(t, pair.primary, pair.replica);
    const dest = pair.path("dest");
    await assert.rejects(restore(pair.replica, dest), failsWith(codes.LOCKED));
    assert.deepEqual(beside(dest), []);
    const other = new Pair(t).replicate();
    const over = restore(other.replica, pair.primary, { force: true });
    await assert.rejects(over, failsWith(codes.LOCKED));
    assert.equal(beside(pair.primary).includes("app.db-lockstep-new"), false);
  });

  test("a damaged replica: VERIFY", async (t) => {
    const pair = new Pair(t).replicate();
    const fd = fs.openSync(pair.replica, "r+");
    fs.writeSync(fd, Buffer.alloc(4096, 7), 0, 4096, 2 * 4096);
    fs.closeSync(fd);
    const before = databaseOf(pair.primary);
    const over = restore(pair.replica, pair.primary, { force: true });
    await assert.rejects(over, failsWith(codes.VERIFY));
    assert.deepEqual(databaseOf(pair.primary), before);
  });

  test("no replica, or itself: NOT_A_DATABASE, BAD_OPTION", async (t) => {
    const { primary, replica } = new Pair(t);
    await assert.rejects(restore(replica, primary), failsWith(codes.NOT_A_DATABASE));
    await assert.rejects(restore(primary, primary), failsWith(codes.BAD_OPTION));
  });
});

describe("killed before each step", () => {
  const steps = ["stage", "copy-logs", "move-database", "drop-logs", "record", "rename", "promote"];
  const script = `
    const { restore } = await import(${JSON.stringify(new URL("../src/restore.ts", import.meta.url))});
    const [replica, dest, at] = process.argv.slice(1);
    const onStep = (step) => step === at && process.kill(process.pid, "SIGKILL");
    await restore(replica, dest, { force: true, onStep });`;

  for (const step of steps) {
    test(`${step}: the old or the new, or neither opens; run again it is done`, async (t) => {
      const pair = new Pair(t).replicate();
      plainLeavingLog(pair.primary, ADD_ONE, "CREATE TABLE old(x)"); // 501 rows, most in its log
      const args = ["--input-type=module", "-e", script, pair.replica, pair.primary, step];
      const { signal, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
      assert.equal(signal, "SIGKILL", stderr);

      const found = contentOf(pair.primary);
      const early = ["stage", "copy-logs", "move-database"].includes(step);
      assert.equal(found, early ? "old" : step === "promote" ? "new" : "unable to open");
      const directory = path.dirname(pair.primary);
      const aside = fs.readdirSync(directory).find((name) => /\.set-aside-[\dTZ-]+$/.test(name));
      assert.equal(aside === undefined, early);
      if (aside) assert.equal(contentOf(path.join(directory, aside)), "old");

      const again = lockstepJson("restore", "--force", pair.replica, pair.primary);
      assert.equal(again.status, 0, JSON.stringify(again.json));
      assert.deepEqual(beside(pair.primary), ["app.db", "app.db-lockstep"]);
      assert.equal(contentOf(pair.primary), "new");
      assert.equal(lockstep("sync", pair.primary, pair.replica).status, 0);
    });
  }

  function contentOf(file: string): string {
    try {
      const rows = rowsOf(file);
      const db = new DatabaseSync(file, { readOnly: true });
      const tables = db.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name='old'").get();
      const integrity = db.prepare("PRAGMA integrity_check").get();
      db.close();
      const all = `${rows} ${tables?.["n"]} ${integrity?.["integrity_check"]}`;
      return { "501 1 ok": "old", "500 0 ok": "new" }[all] ?? all;
    } catch (error) {
      return /unable to open/.test(String(error)) ? "unable to open" : String(error);
    }
  }
});
