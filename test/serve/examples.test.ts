/**
 * The examples in examples/barrier/, run by the real interpreters: another program commits, waits at the
 * barrier, and then the replica has it.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import { scratch } from "../scratch.ts";
import { assertAtRest } from "../support/files.ts";
import { type Host, startHost } from "./host.ts";

const examples = path.join(import.meta.dirname, "../../examples/barrier");
const python = works("python3", ["-c", "import sqlite3"]);
const curl = works("curl", ["--version"]);
const go = works("go", ["version"]);

/** @returns false if it works, else why the test is skipped */
function works(command: string, args: string[]): string | false {
  return spawnSync(command, args).status === 0 ? false : `there is no ${command} here`;
}

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  const said = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (said.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (said.stderr += text));
  const [status] = await once(child, "close");
  return { status, ...said };
}

class Scene {
  readonly primary: string;
  readonly replica: string;
  readonly socket: string;
  readonly #root: string;

  constructor(t: TestContext) {
    this.#root = fs.realpathSync(scratch(t));
    for (const name of ["main", "copy"]) fs.mkdirSync(path.join(this.#root, name));
    this.primary = path.join(this.#root, "main", "app.db");
    this.replica = path.join(this.#root, "copy", "app.db");
    this.socket = path.join(this.#root, "lockstep.sock");
  }

  start(t: TestContext, listen: string): Promise<Host> {
    return startHost(t, this.primary, this.replica, listen);
  }

  commit(amount: number): void {
    const db = new DatabaseSync(this.primary, { timeout: 10_000 });
    db.prepare("INSERT INTO payment (amount) VALUES (?)").run(amount);
    db.close();
  }

  /** What any SQLite reads of the replica. */
  replicated(): number[] {
    const db = new DatabaseSync(this.replica, { readOnly: true });
    const rows = db.prepare("SELECT amount FROM payment ORDER BY id").all();
    db.close();
    return rows.map(({ amount }) => Number(amount));
  }

  pullOut(): void {
    fs.renameSync(path.join(this.#root, "copy"), path.join(this.#root, "copy-out"));
  }

  putBack(): void {
    fs.renameSync(path.join(this.#root, "copy-out"), path.join(this.#root, "copy"));
  }
}

const POSITION = /^1\/[\da-f]{16}\/\d+\/[\da-f]{16}$/;

for (const kind of ["unix socket", "TCP"]) {
  const listenOf = ({ socket }: Scene): string => (kind === "TCP" ? "127.0.0.1:0" : socket);

  describe(kind, () => {
    test("Python commits, waits, and the replica has it", { skip: python }, async (t) => {
      const scene = new Scene(t);
      const host = await scene.start(t, listenOf(scene));
      const pay = (amount: number): Promise<Ended> =>
        run("python3", [
          path.join(examples, "payment.py"),
          ...[scene.primary, host.address, String(amount)],
        ]);
      for (const amount of [100, 200]) {
        const { status, stdout, stderr } = await pay(amount);
        assert.equal(status, 0, stderr);
        assert.match(stdout.trim(), POSITION);
        assert.equal(scene.replicated().at(-1), amount);
      }
      const several = await Promise.all([1, 2, 3, 4, 5].map(pay));
      assert.deepEqual(several.map(({ stderr }) => stderr).join(""), "");
      const paid = scene.replicated();
      assert.deepEqual(
        paid.toSorted((a, b) => a - b),
        [1, 2, 3, 4, 5, 100, 200],
      );
      await host.end();
      assertAtRest(scene.primary, [scene.replica]);
    });

    test("curl waits, and the replica has it", { skip: curl }, async (t) => {
      const scene = new Scene(t);
      const host = await scene.start(t, listenOf(scene));
      scene.commit(100);
      assert.deepEqual(scene.replicated(), [], "nobody has waited: it is not there");
      const { status, stdout, stderr } = await run(path.join(examples, "durable.sh"), [
        host.address,
      ]);
      assert.equal(status, 0, stderr);
      assert.match(JSON.parse(stdout).position, POSITION);
      assert.deepEqual(scene.replicated(), [100]);
      await host.end();
      assertAtRest(scene.primary, [scene.replica]);
    });

    test("Go waits, and the replica has it", { skip: go }, async (t) => {
      const scene = new Scene(t);
      const host = await scene.start(t, listenOf(scene));
      scene.commit(100);
      assert.deepEqual(scene.replicated(), [], "nobody has waited: it is not there");
      const source = path.join(examples, "durable.go");
      const env = { GO111MODULE: "off", GOFLAGS: "" };
      const { status, stdout, stderr } = await run("go", ["run", source, host.address], env);
      assert.equal(status, 0, stderr);
      assert.match(stdout.trim(), POSITION);
      assert.deepEqual(scene.replicated(), [100]);
      await host.end();
      assertAtRest(scene.primary, [scene.replica]);
    });
  });
}

test("when a copy has failed each says so", { skip: python || curl }, async (t) => {
  const scene = new Scene(t);
  const host = await scene.start(t, scene.socket);
  scene.pullOut();
  const paid = await run("python3", [
    path.join(examples, "payment.py"),
    ...[scene.primary, host.address, "1"],
  ]);
  assert.equal(paid.status, 1);
  assert.match(paid.stderr, /ERR_LOCKSTEP_REPLICA_GONE: /);
  const waited = await run(path.join(examples, "durable.sh"), [host.address]);
  assert.equal(waited.status, 1);
  assert.equal(JSON.parse(waited.stdout).code, "ERR_LOCKSTEP_REPLICA_GONE");
  scene.putBack();
  await host.end();
  const again = await scene.start(t, scene.socket);
  await again.end();
  assertAtRest(scene.primary, [scene.replica]);
  assert.deepEqual(scene.replicated(), [1], "the next start brings it there");
});

test("when nobody listens each says so", { skip: python || curl }, async (t) => {
  const scene = new Scene(t);
  const host = await scene.start(t, scene.socket);
  await host.end();
  const args = [scene.primary, host.address, "1"];
  const paid = await run("python3", [path.join(examples, "payment.py"), ...args]);
  assert.equal(paid.status, 1);
  assert.match(paid.stderr, /does not answer/);
  assert.equal((await run(path.join(examples, "durable.sh"), [host.address])).status, 1);
});
