/**
 * The page of a process that writes all the time: a replica's directory is taken away and put back, and at
 * last the process ends. The same of `lockstep replicate --listen`, beside a program that knows nothing of it,
 * and that forgets to commit.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { on, once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { main } from "../cli/lockstep.ts";
import { scratch } from "../scratch.ts";
import { assertAtRest, readAtRest, runSql } from "../support/files.ts";
import { Program } from "../support/program.ts";
import { Browser, noChromium } from "./browser.ts";

const level = (is: string): string => `document.body.dataset.level === "${is}"`;

/** Starts test/page/program.ts; resolves when it has said where its page is. */
async function start(primary: string, replica: string): Promise<[ChildProcess, url: string]> {
  const program = join(import.meta.dirname, "program.ts");
  const child = spawn(process.execPath, [program, primary, replica], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = await once(child.stdout.setEncoding("utf8"), "data");
  return [child, String(line).trim()];
}

/** Follows with the command; resolves when it has said where its page is. */
async function follow(primary: string, replica: string): Promise<[ChildProcess, url: string]> {
  const options = ["--json", "--listen", "127.0.0.1:0", "--open-transaction-ms", "200"];
  const degrade = ["--on-replica-failure", "degrade", "--min-copies", "1"];
  const args = ["--no-warnings", main, "replicate", ...options, ...degrade, primary, replica];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface(child.stdout);
  for await (const [line] of on(lines, "line")) {
    const { event, address } = JSON.parse(line);
    if (event === "listening") return [child, `http://${address}/`];
  }
  throw new Error("it ended");
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.stdin?.end();
  assert.deepEqual(await ended, [0, null]);
}

describe("the page of a process", { skip: noChromium }, () => {
  let browser: Browser;
  before(() => {
    browser = Browser.launch();
  });
  after(() => browser.close());

  test("a replica that is taken away turns it red within two seconds; put back, it heals by itself", async (t) => {
    const root = fs.realpathSync(scratch(t));
    for (const disk of ["a", "b"]) fs.mkdirSync(join(root, disk));
    const [primary, replica] = [join(root, "a/app.db"), join(root, "b/app.db")];
    const [child, url] = await start(primary, replica);
    t.after(() => child.kill("SIGKILL"));
    const tab = await browser.open();
    await tab.show();
    await tab.goto(url);
    await tab.until(level("good"));
    assert.equal(await tab.text("h1"), "Both copies are in step.");

    const takenAt = performance.now();
    fs.renameSync(join(root, "b"), join(root, "b-away"));
    await tab.until(level("bad"));
    const tookMs = performance.now() - takenAt;
    t.diagnostic(`red after ${Math.round(tookMs)} ms`);
    assert.ok(tookMs < 2000, `red after ${tookMs} ms`);
    const headline = await tab.text("h1");
    assert.match(headline, /is out of step since \d\d:\d\d; commits go on without it\.$/);
    assert.ok(headline.includes(replica));
    assert.notEqual(await tab.text("#steps"), "");

    fs.renameSync(join(root, "b-away"), join(root, "b"));
    const backAt = performance.now();
    await tab.until(level("good"), 60_000);
    t.diagnostic(`green after ${Math.round(performance.now() - backAt)} ms`);
    assert.deepEqual(tab.errors, []);
    for (const each of tab.requests) assert.ok(each.startsWith(url), `it asked for ${each}`);
    await end(child);
    await tab.until(level("lost"));
    await tab.close();
    assertAtRest(primary, [replica]);
  });

  test("the page of lockstep replicate: a forgotten commit, a replica away, back, the end", async (t) => {
    const root = fs.realpathSync(scratch(t));
    for (const disk of ["a", "b"]) fs.mkdirSync(join(root, disk));
    const [primary, replica] = [join(root, "a/app.db"), join(root, "b/app.db")];
    runSql(primary, "PRAGMA journal_mode=WAL", "CREATE TABLE t (x)");
    const [child, url] = await follow(primary, replica);
    t.after(() => child.kill("SIGKILL"));
    const other = new Program(t, primary);
    const tab = await browser.open();
    await tab.show();
    await tab.goto(url);
    await tab.until(level("good"));
    await other.sql("INSERT INTO t VALUES (1)");
    await tab.until(
      `[...document.querySelectorAll("#totals div")].some((each) => each.innerText === "Commits\\n1")`,
    );

    const noted = (text: string): string =>
      `document.querySelector("#notes").innerText.includes(${JSON.stringify(text)})`;
    await other.sql("BEGIN IMMEDIATE");
    await tab.until(noted("has SQLite's write lock: nobody else can write"));
    assert.equal(await tab.text("h1"), "Both copies are in step.", "which they are");
    await other.sql("ROLLBACK");
    await tab.until(`!${noted("has SQLite's write lock")}`);
    await tab.until(noted("and does not survive it"));

    fs.renameSync(join(root, "b"), join(root, "b-away"));
    await other.sql("INSERT INTO t VALUES (2)");
    await tab.until(level("bad"));
    const todo = await tab.text("#steps");
    assert.match(todo, /It is tried again by itself/);
    fs.renameSync(join(root, "b-away"), join(root, "b"));
    await tab.until(level("good"), 60_000);

    assert.deepEqual(tab.errors, []);
    for (const each of tab.requests) assert.ok(each.startsWith(url), `it asked for ${each}`);
    await other.end();
    const ended = once(child, "close");
    child.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null]);
    await tab.until(level("lost"));
    await tab.close();
    assertAtRest(primary, [replica]);
    assert.equal(readAtRest(replica, (db) => db.prepare("SELECT * FROM t").all()).length, 2);
  });
});
