// Goal: each relation of `lockstep status`, from copies that came to it as real ones do; and that
//   looking changes nothing.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import * as sqlite from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import { Io } from "../../src/cli/io.ts";
import { codes } from "../../src/errors.ts";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import { contentsOf } from "../scratch.ts";
import { lockstep, lockstepJson, main } from "./lockstep.ts";
import { ADD_ONE, loseFromPrimary, Pair, plain, plainLeavingLog, replicateAndDie } from "./pair.ts";
import { startWriter } from "./writer.ts";

const shape = {
  copy: [
    ...["path", "file", "bytes", "logFrames", "position", "because"],
    ...["role", "timeline", "inUse", "lastEvent"],
  ],
  replica: ["relation", "why", "detached", "lastProof"],
};

function relationOf(pair: Pair): string {
  const before = [pair.primary, pair.replica].map((file) => contentsOf(path.dirname(file)));
  const { status, json } = lockstepJson("status", pair.primary, pair.replica);
  const after = [pair.primary, pair.replica].map((file) => contentsOf(path.dirname(file)));
  assert.deepEqual(after, before, "status changes nothing");
  assert.deepEqual(Object.keys(json), ["primary", "replicas", "warnings"]);
  assert.deepEqual(Object.keys(json.primary), shape.copy);
  assert.deepEqual(Object.keys(json.replicas[0]), [...shape.copy, ...shape.replica]);
  assert.deepEqual([json.primary.path, json.replicas[0].path], [pair.primary, pair.replica]);
  assert.equal(status, json.replicas[0].relation === "in-step" ? 0 : 1);
  return json.replicas[0].relation;
}

/** As a snapshot of a whole disk does: the old file is back, with its old record. */
function goBack(file: string, old: { database: Buffer; sidecar: Buffer }): void {
  fs.writeFileSync(file, old.database);
  fs.writeFileSync(`${file}-lockstep`, old.sidecar);
  const db = new sqlite.DatabaseSync(`${file}-lockstep`);
  const row = db.prepare("SELECT value FROM state WHERE key='folded'").get();
  const folded = { ...JSON.parse(String(row?.["value"])), file: readFingerprint(file) };
  db.prepare("UPDATE state SET value=? WHERE key='folded'").run(JSON.stringify(folded));
  db.close();
}

describe("relation", () => {
  test("missing: before the first copy", (t) => {
    assert.equal(relationOf(new Pair(t)), "missing");
  });

  test("in-step: after a clean close", (t) => {
    assert.equal(relationOf(new Pair(t).replicate(ADD_ONE)), "in-step");
  });

  test("behind: the primary's log holds more", (t) => {
    const pair = new Pair(t).replicate();
    plainLeavingLog(pair.primary, ADD_ONE);
    assert.equal(relationOf(pair), "behind");
  });

  test("ahead: the replica's log holds more", (t) => {
    const pair = new Pair(t).replicate();
    loseFromPrimary(pair, ADD_ONE);
    assert.equal(relationOf(pair), "ahead");
  });

  test("diverged: both were written", (t) => {
    const pair = new Pair(t).replicate();
    replicateAndDie(pair.primary, pair.replica, ADD_ONE);
    plainLeavingLog(pair.primary, ADD_ONE);
    plainLeavingLog(pair.replica, "DELETE FROM entry");
    assert.equal(relationOf(pair), "diverged");
  });

  test("stale-primary: an old state of the primary came back", (t) => {
    const pair = new Pair(t).replicate();
    const old = {
      database: fs.readFileSync(pair.primary),
      sidecar: fs.readFileSync(`${pair.primary}-lockstep`),
    };
    pair.replicate(ADD_ONE);
    goBack(pair.primary, old);
    assert.equal(relationOf(pair), "stale-primary");
  });

  test("unknown: some other database", (t) => {
    const pair = new Pair(t);
    plain(pair.replica, "CREATE TABLE other(x)");
    assert.equal(relationOf(pair), "unknown");
  });

  test("fenced: the replica was restored somewhere else", (t) => {
    const pair = new Pair(t).replicate();
    assert.equal(lockstep("restore", pair.replica, pair.path("elsewhere")).status, 0);
    assert.equal(relationOf(pair), "fenced");
  });

  test("in-step and in use: while somebody writes them", async (t) => {
    const { primary, replica } = new Pair(t).replicate();
    const writer = await startWriter(t, primary, replica);
    for (let i = 0; i < 3; i++) {
      const { status, json } = lockstepJson("status", `sqlite3://${primary}:${replica}`);
      assert.equal(json.replicas[0].relation, "in-step", JSON.stringify(json));
      assert.equal(json.primary.inUse.pid, writer.child.pid);
      assert.equal(json.replicas[0].inUse.pid, writer.child.pid);
      assert.equal(status, 0);
    }
    assert.ok((await writer.end()) > 0);
  });

  test("locked: the replica is in use with another primary", async (t) => {
    const { primary, replica } = new Pair(t).replicate();
    const other = new Pair(t);
    await startWriter(t, other.primary, other.replica);
    const { json, status } = lockstepJson("status", primary, other.replica);
    assert.deepEqual([json.replicas[0].relation, status], ["locked", 1]);
    assert.equal(lockstepJson("status", primary, replica).json.replicas[0].relation, "in-step");
  });
});

test("several replicas, as text", (t) => {
  const pair = new Pair(t).replicate();
  const { status, stdout } = lockstep("status", pair.primary, pair.replica, pair.path("third"));
  assert.equal(status, 1);
  assert.match(stdout, /^primary .*\n(?: {2}.*\n)+replica .*\n {2}relation {2}in-step: /);
  assert.match(stdout, /^replica .*third.*\n {2}relation {2}missing: /m);
  assert.match(stdout, /^warning .* is on the disk of .*\n {2}next {6}\w/m);
});

test("after a crash nobody has it in use", async (t) => {
  const { primary, replica } = new Pair(t).replicate();
  const writer = await startWriter(t, primary, replica);
  const exit = new Promise((resolve) => writer.child.once("close", resolve));
  writer.child.kill("SIGKILL");
  await exit;
  const { json } = lockstepJson("status", primary, replica);
  assert.deepEqual([json.primary.inUse, json.replicas[0].inUse], [null, null]);
  assert.match(json.replicas[0].relation, /^(in-step|behind|ahead)$/);
});

test("a damaged record: SIDECAR", (t) => {
  const pair = new Pair(t).replicate();
  fs.writeFileSync(`${pair.replica}-lockstep`, "not a database".repeat(100));
  const { status, json } = lockstepJson("status", pair.primary, pair.replica);
  assert.deepEqual([status, json.error.code], [1, codes.SIDECAR]);
});

describe("--watch", () => {
  /** Runs it until it has looked often enough, then interrupts it. */
  async function watch(
    t: TestContext,
    enough: (said: string) => boolean,
    ...args: string[]
  ): Promise<{ said: string; ended: unknown[] }> {
    const child = spawn(process.execPath, [main, "status", ...args], { stdio: "pipe" });
    t.after(() => child.kill("SIGKILL"));
    const ended = once(child, "close");
    let said = "";
    child.stdout.on("data", (text) => {
      said += text;
      if (enough(said) && !child.killed) child.kill("SIGINT");
    });
    return { ended: await ended, said };
  }
  const blocks = (said: string): string[] => said.split("\n\n").slice(0, -1);

  test("elsewhere than on a terminal a block a look; on SIGINT the status of the last", async (t) => {
    const { primary, replica } = new Pair(t).replicate();
    const inStep = await watch(
      t,
      (said) => blocks(said).length >= 3,
      "--watch=0.1",
      primary,
      replica,
    );
    assert.deepEqual(inStep.ended, [0, null]);
    for (const block of blocks(inStep.said)) {
      assert.match(block, /^\d{4}-\d\d-\d\dT\S+Z\nprimary .*\n[\s\S]*\n {2}relation {2}in-step: /);
    }
    // The replica goes between two looks.
    let gone = false;
    const lost = (said: string): boolean => {
      if (blocks(said).length >= 1 && !gone) fs.rmSync(replica);
      gone ||= blocks(said).length >= 1;
      return /relation {2}missing/.test(said);
    };
    const ended = await watch(t, lost, "--watch", "0.1", primary, replica);
    assert.deepEqual(ended.ended, [1, null]);
    assert.match(ended.said, /relation {2}in-step[\s\S]*relation {2}missing/);
  });

  test("with --json a document a line; an error does not end it", async (t) => {
    const { primary, replica } = new Pair(t).replicate();
    fs.writeFileSync(`${replica}-lockstep`, "no record".repeat(1000));
    const two = (said: string): boolean => said.split("\n").length > 2;
    const { ended, said } = await watch(t, two, primary, replica, "--json", "--watch=0.01");
    assert.deepEqual(ended, [1, null]);
    const [first] = said.split("\n");
    assert.equal(JSON.parse(first as string).error.code, codes.SIDECAR);
  });

  test("the number may be missing, and must be one", async (t) => {
    const { primary, replica } = new Pair(t).replicate();
    const one = (said: string): boolean => blocks(said).length >= 1;
    assert.deepEqual((await watch(t, one, "--watch", primary, replica)).ended, [0, null]);
    for (const bad of ["0", "x", "-1", "1e9"]) {
      assert.equal(lockstep("status", `--watch=${bad}`, primary, replica).status, 2);
    }
  });

  test("on a terminal it is redrawn in place, cut to its size", () => {
    let shown = "";
    const out = { isTTY: true, columns: 12, rows: 4, write: (text: string) => (shown += text) };
    const io = new Io(out, { write: () => {} });
    io.block(["one", "a line that is too long", "three", "four", "five"]);
    assert.equal(shown, "\x1b[Jone\na line that\nthree\n");
    shown = "";
    io.block(["now", "two"]);
    assert.equal(shown, "\x1b[3F\x1b[Jnow\ntwo\n");
    shown = "";
    io.block(["last"]);
    assert.equal(shown, "\x1b[2F\x1b[Jlast\n");
  });
});
