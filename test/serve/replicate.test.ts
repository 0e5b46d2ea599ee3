/** `lockstep replicate --listen`: the barrier of a database that other programs write. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { main } from "../cli/lockstep.ts";
import { scratch } from "../scratch.ts";
import { assertAtRest, runSql } from "../support/files.ts";
import { ask } from "./ask.ts";

const python = spawnSync("python3", ["-c", "import sqlite3"]).status !== 0 && "there is no python3";
const payment = path.join(import.meta.dirname, "../../examples/barrier/payment.py");

class Scene {
  readonly primary: string;
  readonly replica: string;
  readonly socket: string;

  constructor(t: TestContext) {
    const root = fs.realpathSync(scratch(t));
    for (const name of ["main", "copy"]) fs.mkdirSync(path.join(root, name));
    this.primary = path.join(root, "main", "app.db");
    this.replica = path.join(root, "copy", "app.db");
    this.socket = path.join(root, "lockstep.sock");
    const table = "CREATE TABLE payment (id INTEGER PRIMARY KEY, amount INTEGER)";
    runSql(this.primary, "PRAGMA journal_mode=WAL", table);
  }

  /** Follows, and listens where it is told; resolves with the addresses when it does. */
  async follow(t: TestContext, ...listen: string[]): Promise<[ChildProcess, string[]]> {
    const options = listen.flatMap((each) => ["--listen", each]);
    const args = [
      "--no-warnings",
      main,
      "replicate",
      "--json",
      ...options,
      this.primary,
      this.replica,
    ];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => child.kill("SIGKILL"));
    const addresses: string[] = [];
    for await (const line of createInterface(child.stdout as Readable)) {
      const { event, address, error } = JSON.parse(line);
      assert.equal(error, undefined);
      if (event === "listening") addresses.push(address);
      if (addresses.length === listen.length) break;
    }
    return [child, addresses];
  }
}

async function stop(child: ChildProcess): Promise<void> {
  const closed = once(child, "close");
  child.stdout?.resume();
  child.kill("SIGTERM");
  assert.deepEqual(await closed, [0, null]);
}

test("Python commits and waits on either address; the page's data is there", {
  skip: python,
}, async (t) => {
  const scene = new Scene(t);
  const [child, addresses] = await scene.follow(t, scene.socket, "127.0.0.1:0");
  let paid = 0;
  for (const address of addresses) {
    for (let i = 0; i < 5; i++) {
      const args = [payment, scene.primary, address, String(++paid)];
      const { status, stderr } = spawnSync("python3", args, { encoding: "utf8" });
      assert.equal(status, 0, stderr);
    }
    const { replicas, healthy, commits } = JSON.parse((await ask(address, "/status.json")).text);
    assert.deepEqual([healthy, replicas[0].state, commits], [true, "mirroring", paid]);
  }
  await stop(child);
  assert.equal(fs.existsSync(scene.socket), false);
  assertAtRest(scene.primary, [scene.replica]);
});

test("an address that is refused ends it, with its code", async (t) => {
  const scene = new Scene(t);
  const args = ["--no-warnings", main, "replicate", "--json", "--listen", "0.0.0.0:0"];
  const { status, stdout } = spawnSync(process.execPath, [...args, scene.primary, scene.replica], {
    encoding: "utf8",
  });
  const last = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  assert.deepEqual([status, last.error?.code], [1, "ERR_LOCKSTEP_BAD_OPTION"]);
  assertAtRest(scene.primary, [scene.replica]);
});
