/** `lockstep replicate` as somebody runs it: what it says, and how it ends. What it does: test/replicate. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Io, type Output } from "../../src/cli/io.ts";
import { runSql } from "../support/files.ts";
import { lockstep, lockstepJson, main } from "./lockstep.ts";
import { ADD_ONE, Pair, plain, rowsOf } from "./pair.ts";

function pairInWal(...of: ConstructorParameters<typeof Pair>): Pair {
  const pair = new Pair(...of);
  runSql(pair.primary, "PRAGMA journal_mode=WAL");
  return pair;
}

test("--once: in words, and in JSON", (t) => {
  const { primary, replica } = pairInWal(t);
  const first = lockstep("replicate", "--once", primary, replica);
  assert.deepEqual([first.status, first.stdout], [0, ""], first.stderr);
  const [copied, inStep, stopped] = first.stderr.trim().split("\n").slice(-3) as string[];
  assert.match(copied as string, /^copy \d/);
  assert.match(inStep as string, /^in step: .*app\.db at 1\//);
  assert.match(stopped as string, /^stopped at 1\//);
  plain(primary, ADD_ONE);
  const { status, stdout } = lockstep("replicate", "--once", "--json", primary, replica);
  assert.equal(status, 0);
  const said = stdout.trim().split("\n");
  assert.deepEqual(
    said.map((line) => JSON.parse(line).event),
    ["in-step", "stopped"],
  );
  assert.deepEqual(JSON.parse(said[0] as string).work, ["delta"]);
  assert.equal(rowsOf(replica), 501);
});

test("a DSN, and options in it", (t) => {
  const { primary, replica } = pairInWal(t);
  const dsn = `sqlite3://${primary}:${replica}?replicaTimeout=9000`;
  assert.equal(lockstep("replicate", "--once", dsn).status, 0);
  assert.equal(rowsOf(replica), 500);
  const restoring = lockstep("replicate", "--once", `${dsn}&restoreMissing=true`);
  assert.equal(restoring.status, 2);
  assert.match(restoring.stderr, /lockstep restore/);
});

test("a file says it all, and an error says which of its lines is wrong", (t) => {
  const { primary, replica } = pairInWal(t);
  const config = `${primary}.conf`;
  const lines = ["# the ledger", `primary = ${primary}`, `replica = ${replica}`, "once = true"];
  fs.writeFileSync(config, lines.join("\n"));
  assert.equal(lockstep("replicate", "--config", config).status, 0);
  assert.equal(rowsOf(replica), 500);
  fs.writeFileSync(config, [...lines, "replica-timeout = 0"].join("\n"));
  const { status, stderr } = lockstep("replicate", "--config", config);
  assert.equal(status, 2);
  assert.match(stderr, /\.conf:5: replica-timeout must be an integer from 1 .*, not 0/);
});

test("wrong use", (t) => {
  const { primary, replica } = pairInWal(t);
  for (const [args, said] of [
    [[primary], /at least one replica/],
    [
      ["--replica-timeout", "soon", primary, replica],
      /the command line: replica-timeout takes a number, not "soon"/,
    ],
    [["--listen", primary, replica], /--listen/],
  ] as const) {
    const { status, stderr } = lockstep("replicate", ...args);
    assert.equal(status, 2);
    assert.match(stderr, said);
    assert.match(stderr, /Usage: lockstep replicate/);
  }
  const { status, json } = lockstepJson("replicate", "--min-copies", "1", primary, replica);
  assert.deepEqual([status, json.error.code], [2, "ERR_LOCKSTEP_BAD_OPTION"]);
});

test("stopped while it makes the first copy, or right after: it ends in order", async (t) => {
  const { primary, replica } = pairInWal(t);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const child = spawn(process.execPath, [main, "replicate", primary, replica]);
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    child.stderr.once("data", () => child.kill(signal)); // a second one would not be waited for
    assert.deepEqual(await once(child, "close"), [0, null], said);
    assert.match(said, /stopped/);
  }
});

const FULL = { skip: !fs.existsSync("/dev/full") && "there is no /dev/full" };

/** Runs while somebody writes, until the replica has that, and is stopped. */
async function mirrors(child: ChildProcess, { primary, replica }: Pair): Promise<unknown> {
  const ended = once(child, "close");
  plain(primary, ADD_ONE);
  while (!fs.existsSync(replica) || rowsOf(replica) < 501) {
    assert.equal(child.exitCode, null, "it ended");
    await delay(20);
  }
  child.kill("SIGTERM");
  return (await ended)[0];
}

test("stderr has no reader any more: it goes on", async (t) => {
  const pair = pairInWal(t);
  const child = spawn(process.execPath, [main, "replicate", pair.primary, pair.replica]);
  t.after(() => child.kill("SIGKILL"));
  child.stderr.destroy();
  assert.equal(await mirrors(child, pair), 0);
});

test("stderr is a full disk: it goes on", FULL, async (t) => {
  const pair = pairInWal(t);
  const full = fs.openSync("/dev/full", "w");
  const args = [main, "replicate", pair.primary, pair.replica];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", full] });
  t.after(() => child.kill("SIGKILL"));
  fs.closeSync(full);
  assert.equal(await mirrors(child, pair), 0);
});

test("stdout is a full disk: it goes on, says so once, and fails in the end", FULL, async (t) => {
  const pair = pairInWal(t);
  const full = fs.openSync("/dev/full", "w");
  const args = [main, "replicate", "--json", pair.primary, pair.replica];
  const child = spawn(process.execPath, args, { stdio: ["ignore", full, "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  fs.closeSync(full);
  const said = text(child.stderr as Readable);
  assert.equal(await mirrors(child, pair), 1);
  assert.match(await said, /^Not all of the result could be written: ENOSPC.*\n$/);
});

test("a status takes the place of the last on a terminal, and is a line elsewhere", () => {
  const written: string[] = [];
  const to = (isTTY: boolean): Output => ({
    isTTY,
    columns: 20,
    write: (text: string) => written.push(text),
  });
  const io = new Io(to(false), to(true));
  io.status("a".repeat(30));
  io.status("second");
  io.note("a line");
  new Io(to(false), to(false)).status("plain");
  assert.deepEqual(written, [
    `\r\x1b[2K${"a".repeat(19)}`,
    "\r\x1b[2Ksecond",
    "\n",
    "a line\n",
    "plain\n",
  ]);
});
