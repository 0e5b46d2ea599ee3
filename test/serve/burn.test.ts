/**
 * Goal: what a Python program was told is durable survives its primary's disk.
 * Method: two of them pay, each waiting at the barrier of `lockstep replicate`; at a random instant all are
 * killed and the primary's directory is destroyed. The replica is restored: it is sound, and it has every
 * payment that was acknowledged. More of it: RUNS=200 SEED=random node --test test/serve/burn.test.ts
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { restore } from "../../src/restore.ts";
import { main } from "../cli/lockstep.ts";
import { Random } from "../crash/random.ts";
import { type Ending, scratch } from "../scratch.ts";
import { readAtRest, runSql } from "../support/files.ts";
import { runs, seed } from "../support/seed.ts";

const python = spawnSync("python3", ["-c", "import sqlite3"]).status !== 0 && "there is no python3";
const LONGEST_MS = 1500;

interface Burnt {
  /** What the payers were told is durable. */
  readonly acknowledged: readonly number[];
  /** What the restored database has. */
  readonly paid: ReadonlySet<number>;
}

/**
 * @param ms how long they go on after the first was told
 * @param barrier without it a payment is taken for durable once it is committed, and nothing is mirrored
 */
async function burn(t: Ending, ms: number, barrier = true): Promise<Burnt> {
  const root = fs.realpathSync(scratch(t));
  for (const name of ["main", "copy"]) fs.mkdirSync(path.join(root, name));
  const [primary, replica] = [path.join(root, "main/app.db"), path.join(root, "copy/app.db")];
  const table = "CREATE TABLE payment (id INTEGER PRIMARY KEY, amount INTEGER)";
  runSql(primary, "PRAGMA journal_mode=WAL", table);
  const socket = path.join(root, "a.sock");
  const children: ChildProcess[] = [];
  const start = (command: string, args: string[]): AsyncIterable<string> => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] });
    children.push(child);
    return createInterface(child.stdout as Readable);
  };
  t.after(() => children.forEach((child) => void child.kill("SIGKILL")));
  const follow = ["--no-warnings", main, "replicate", "--json", "--listen", socket];
  for await (const line of start(process.execPath, [...follow, primary, replica])) {
    if (JSON.parse(line).event === "listening") break;
  }
  if (!barrier) children[0]?.kill("SIGSTOP");
  const acknowledged: number[] = [];
  let begun = (): void => {};
  const first = new Promise<void>((resolve) => (begun = resolve));
  const payer = path.join(import.meta.dirname, "payer.py");
  const told = [1, 1_000_000].map(async (from) => {
    const args = [payer, primary, barrier ? socket : "none", String(from)];
    for await (const line of start("python3", args)) {
      acknowledged.push(Number(line));
      begun();
    }
  });
  await first;
  await delay(ms);
  const ended = children.map((child) => once(child, "close"));
  for (const child of children) child.kill("SIGKILL");
  fs.rmSync(path.dirname(primary), { recursive: true }); // while some may still die
  await Promise.all([...ended, ...told]);
  const restored = path.join(root, "restored.db");
  await restore(replica, restored);
  const paid = readAtRest(restored, (db) => {
    assert.deepEqual({ ...db.prepare("PRAGMA integrity_check").get() }, { integrity_check: "ok" });
    return db.prepare("SELECT amount FROM payment").all();
  });
  return { acknowledged, paid: new Set(paid.map(({ amount }) => Number(amount))) };
}

const lostOf = ({ acknowledged, paid }: Burnt): number[] =>
  acknowledged.filter((amount) => !paid.has(amount));

test(`no acknowledged payment is lost, seed ${seed}`, { skip: python }, async (t) => {
  const random = new Random(seed);
  let acknowledged = 0;
  for (let run = 0; run < runs(3); run++) {
    const ends: (() => unknown)[] = [];
    const after = (end: () => unknown): void => void ends.unshift(end);
    const burnt = await burn({ after } as Ending, random.between(100, LONGEST_MS));
    assert.deepEqual(lostOf(burnt), [], `run ${run}`);
    acknowledged += burnt.acknowledged.length;
    for (const end of ends) end();
  }
  t.diagnostic(`${acknowledged} payments were acknowledged`);
});

test("without the barrier payments are lost, and that is noticed", { skip: python }, async (t) => {
  assert.ok(lostOf(await burn(t, 100, false)).length > 0);
});
