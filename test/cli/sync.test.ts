import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { codes } from "../../src/errors.ts";
import { contentsOf } from "../scratch.ts";
import { lockstep, lockstepJson } from "./lockstep.ts";
import { ADD_ONE, loseFromPrimary, Pair, plain, plainLeavingLog, rowsOf } from "./pair.ts";
import { startWriter } from "./writer.ts";

function refused(pair: Pair, code: string, ...flags: string[]): void {
  const before = [pair.primary, pair.replica].map((file) => databaseOf(file));
  const { status, json } = lockstepJson("sync", pair.primary, pair.replica, ...flags);
  assert.deepEqual([json.error?.code, status], [code, 1]);
  assert.deepEqual(
    [pair.primary, pair.replica].map((file) => databaseOf(file)),
    before,
  );
}

/** What lies beside a name but for its record, in which a refusal may be noted, and empty logs. */
function databaseOf(file: string): Record<string, string> {
  const all = contentsOf(path.dirname(file));
  for (const [name, what] of Object.entries(all)) {
    if (/-lockstep|-shm$/.test(name) || what.startsWith("0 bytes")) delete all[name];
  }
  return all;
}

function inStep(pair: Pair): void {
  assert.deepEqual(fs.readFileSync(pair.primary), fs.readFileSync(pair.replica));
  assert.equal(lockstep("status", pair.primary, pair.replica).status, 0);
  assert.equal(lockstep("verify", pair.primary, pair.replica).status, 0);
}

const diverge = (pair: Pair): void => {
  plain(pair.primary, ADD_ONE, ADD_ONE);
  plain(pair.replica, ADD_ONE);
};

describe("without --from", () => {
  test("makes the first copy, and says so", (t) => {
    const pair = new Pair(t);
    const { status, json } = lockstepJson("sync", pair.primary, pair.replica);
    assert.equal(status, 0);
    assert.deepEqual(Object.keys(json), ["primary", "replica", "before", "position", "setAside"]);
    assert.deepEqual([json.before.relation, json.setAside], ["missing", null]);
    inStep(pair);
    assert.equal(lockstepJson("sync", pair.primary, pair.replica).json.before.relation, "in-step");
  });

  test("a DSN names both", (t) => {
    const pair = new Pair(t);
    assert.equal(lockstep("sync", `sqlite3://${pair.primary}:${pair.replica}`).status, 0);
    inStep(pair);
  });

  test("sends what is missing, and rolls a primary forward", (t) => {
    const pair = new Pair(t).replicate();
    plainLeavingLog(pair.primary, ADD_ONE);
    assert.equal(lockstepJson("sync", pair.primary, pair.replica).json.before.relation, "behind");
    loseFromPrimary(pair, ADD_ONE);
    assert.equal(lockstepJson("sync", pair.primary, pair.replica).json.before.relation, "ahead");
    inStep(pair);
    assert.equal(rowsOf(pair.primary), 502);
  });

  test("refuses copies that diverged", (t) => {
    const pair = new Pair(t).replicate();
    diverge(pair);
    refused(pair, codes.DIVERGED);
  });

  test("refuses copies that are in use: LOCKED", async (t) => {
    const pair = new Pair(t).replicate();
    const writer = await startWriter(t, pair.primary, pair.replica);
    const { status, json } = lockstepJson("sync", pair.primary, pair.replica);
    assert.deepEqual([json.error.code, status], [codes.LOCKED, 1]);
    assert.match(json.error.what, new RegExp(`process ${writer.child.pid} `));
    assert.ok((await writer.end()) > 0);
  });

  test("refuses the copies in the wrong order", (t) => {
    const { primary, replica } = new Pair(t).replicate();
    const { status, json } = lockstepJson("sync", replica, primary);
    assert.deepEqual([json.error.code, status], [codes.BAD_OPTION, 2]);
  });

  test("nothing on either side: NOT_A_DATABASE, and nothing is made", (t) => {
    const pair = new Pair(t);
    const { json } = lockstepJson("sync", pair.path("none"), pair.replica);
    assert.equal(json.error.code, codes.NOT_A_DATABASE);
    assert.deepEqual(fs.readdirSync(path.dirname(pair.path("none"))), []);
  });
});

describe("--from primary", () => {
  for (const [what, part] of [
    ["diverged", diverge],
    ["ahead", (pair: Pair) => loseFromPrimary(pair, ADD_ONE)],
    ["another database", ({ replica }: Pair) => plain(replica, "DROP TABLE entry")],
  ] as const) {
    test(`${what}: the replica is set aside, whole, and made anew`, (t) => {
      const pair = new Pair(t).replicate();
      part(pair);
      const [primary, replica] = [rowsOf(pair.primary), fs.readFileSync(pair.replica)];
      const { status, json } = lockstepJson(
        "sync",
        pair.primary,
        pair.replica,
        "--from",
        "primary",
      );
      assert.equal(status, 0, JSON.stringify(json));
      assert.match(json.setAside, /backup\/app\.db\.set-aside-\d{4}-/);
      assert.deepEqual(fs.readFileSync(json.setAside), replica);
      if (what === "ahead") assert.equal(rowsOf(json.setAside), primary + 1);
      assert.equal(rowsOf(pair.primary), primary);
      inStep(pair);
    });
  }

  test("in step: nothing is set aside", (t) => {
    const pair = new Pair(t).replicate();
    const { json } = lockstepJson("sync", pair.primary, pair.replica, "--from", "primary");
    assert.equal(json.setAside, null);
  });

  test("a promoted replica is not set aside: FENCED", (t) => {
    const pair = new Pair(t).replicate();
    lockstep("restore", pair.replica, pair.path("elsewhere"));
    refused(pair, codes.FENCED, "--from", "primary");
  });
});

describe("--from replica", () => {
  for (const [what, part] of [
    ["diverged", diverge],
    ["behind", ({ primary }: Pair) => plainLeavingLog(primary, ADD_ONE)],
    ["fenced", (pair: Pair) => lockstep("restore", pair.replica, pair.path("elsewhere"))],
  ] as const) {
    test(`${what}: the primary is set aside, whole`, (t) => {
      const pair = new Pair(t).replicate();
      part(pair);
      const [primary, replica] = [rowsOf(pair.primary), rowsOf(pair.replica)];
      const { status, json } = lockstepJson(
        "sync",
        pair.primary,
        pair.replica,
        "--from",
        "replica",
      );
      assert.equal(status, 0, JSON.stringify(json));
      assert.match(json.setAside, /main\/app\.db\.set-aside-\d{4}-/);
      assert.equal(rowsOf(json.setAside), primary);
      assert.equal(rowsOf(pair.primary), replica);
      inStep(pair);
    });
  }

  test("the primary is missing", (t) => {
    const pair = new Pair(t).replicate();
    fs.rmSync(pair.primary);
    assert.equal(lockstepJson("sync", pair.primary, pair.replica, "--from", "replica").status, 0);
    inStep(pair);
  });

  test("the replica is missing: NOT_A_DATABASE", (t) => {
    refused(new Pair(t), codes.NOT_A_DATABASE, "--from", "replica");
  });
});

test("--from takes one of two words: 2", (t) => {
  const { primary, replica } = new Pair(t);
  assert.equal(lockstep("sync", primary, replica, "--from", "main").status, 2);
});
