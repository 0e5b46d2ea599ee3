/** Readers of a replica while it is written: a short run of `npm run test:reader`, and its canary. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { scratch } from "../scratch.ts";
import { Scene } from "../support/scene.ts";
import { seed } from "../support/seed.ts";
import { begin, LOOK } from "./ledger.ts";
import { Course } from "./reader.ts";
import { missing, watch } from "./watch.ts";

const skip = missing();

test(`readers in other processes, over checkpoints and starts (SEED=${seed})`, {
  skip,
}, async (t) => {
  const { readers, problems, ...figures } = await watch({
    ...{ directory: scratch(t), seed, seconds: 5, lives: 3, checkpoints: 3 },
    ...{ checkEvery: 10, holdEvery: 20, holdMs: 100, lifeSeconds: 1.7 },
  });
  assert.deepEqual(problems, []);
  assert.ok(figures.postponed > 0 && figures.shellReads > 0, JSON.stringify(figures));
  for (const [name, { reads, held, checks, reached }] of Object.entries(readers)) {
    assert.ok(reads > 10 && held > 0 && checks > 0, `${name}: ${reads} ${held} ${checks}`);
    if (name !== "python") assert.ok((reached ?? 0) > 3, `${name}: ${reached}`);
  }
});

/** What a reader says of a database in which something is wrong, or becomes so. */
async function seesWrong(command: string, args: string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const said: string[] = [];
  createInterface(child.stdout).on("line", (line) => {
    said.push(line);
    if (line === "wrong") child.stdin.end();
  });
  await new Promise((resolve) => child.once("close", resolve));
  return (JSON.parse(said.at(-1) as string) as { wrong: string[] }).wrong.join("\n");
}

test("canary: each reader complains of what does not fit together", { skip }, async (t) => {
  const scene = Scene.make(t);
  const db = scene.open();
  begin(db);
  db.exec("UPDATE account SET balance = balance + 1 WHERE id = 7");
  db.close();
  const rest = ["5", "5", "50"];
  const here = (name: string): string => path.join(import.meta.dirname, name);
  const python = await seesWrong("python3", [here("reader.py"), scene.replica, "1", LOOK, ...rest]);
  assert.match(python, /inconsistent/);
  for (const driver of ["node:sqlite", "better-sqlite3"]) {
    const args = ["--no-warnings", here("reader.ts"), scene.replica, "1", driver, ...rest];
    assert.match(await seesWrong(process.execPath, args), /inconsistent/);
  }
});

test("canary: what goes back is noticed", { skip }, async (t) => {
  const file = path.join(scratch(t), "plain.db");
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode=WAL");
  begin(db);
  const args = [path.join(import.meta.dirname, "reader.py"), file, "1", LOOK, "99", "99", "1"];
  const backwards = setInterval(() => {
    db.exec("BEGIN; UPDATE journal SET step = step - 1; UPDATE last SET step = step - 1; COMMIT");
  }, 20);
  assert.match(await seesWrong("python3", args), /went back/);
  clearInterval(backwards);
  db.close();

  const course = new Course();
  const at = (generation: string, frame: number): string | null =>
    course.goesBack(`1/${generation.repeat(16)}/${frame}/${"0".repeat(16)}`);
  assert.deepEqual([at("a", 1), at("a", 1), at("a", 3), at("b", 1)], [null, null, null, null]);
  assert.match(String(at("b", 0)), /went back/);
  assert.match(String(at("a", 4)), /came again/);
});
