/** Looks at disks take turns: a disk that hangs costs one thread of the pool, and nobody waits for it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { inTurn, withdraw } from "../../src/watch/in-turn.ts";
import { Faults, skip } from "../faults/shim.ts";
import { scratch } from "../scratch.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("one after the other, each once, and none that was withdrawn", async () => {
  const begun: string[] = [];
  let answer = (): void => {};
  const hangs = (): Promise<void> => {
    begun.push("hangs");
    return new Promise((resolve) => (answer = resolve));
  };
  const [one, other, closed] = ["one", "other", "closed"].map((name) => async () => {
    begun.push(name);
  }) as [typeof hangs, typeof hangs, typeof hangs];
  inTurn(one);
  await turn();
  for (const look of [hangs, one, closed, hangs, other, one]) inTurn(look);
  withdraw(closed);
  await turn();
  assert.deepEqual(begun, ["one", "hangs"]);
  answer();
  await turn();
  assert.deepEqual(begun, ["one", "hangs", "one", "hangs"]);
  answer();
  await turn();
  assert.equal(begun.at(-1), "other");
  inTurn(closed);
  assert.equal(begun.at(-1), "closed");
});

/** Four databases: as many as the pool has threads. */
const PROGRAM = `
  import fs from "node:fs";
  import { once } from "node:events";
  import { DatabaseSync } from ${source("index.ts")};
  import { observe } from ${source("observe/index.ts")};
  const databases = [1, 2, 3, 4].map((n) => {
    const options = { replicas: ["replica/" + n + ".db"], durability: "barrier", openTransactionMs: 200 };
    const db = new DatabaseSync("main/" + n + ".db", options);
    db.exec("CREATE TABLE t (x)");
    return db;
  });
  for (const { replication } of databases) await replication.durable();
  console.log("open");
  await once(process.stdin, "data");
  const observed = [];
  for (const db of databases) observed.push(await observe(db));
  console.log("observed");
  await once(process.stdin, "data");
  for (const db of databases) {
    db.exec("INSERT INTO t VALUES (1)");
    await db.replication.durable();
  }
  console.log("durable");
  await fs.promises.readFile("main/1.db");
  console.log("read");
  const [db] = databases;
  db.exec("BEGIN");
  for (let kind; kind !== "open-transaction"; ) [{ kind }] = await once(db.replication, "warning");
  db.exec("COMMIT");
  console.log("warned");
  for (const each of observed) await each.close();
  for (const each of databases) each.close();
  process.stdin.unref();
  console.log("closed");`;

for (const [what, on, at] of [
  ["as its room is asked for", "statfs", "replica/"],
  ["as a proof is read", "open", "-lockstep-proof"],
] as const) {
  test(`a disk that hangs ${what}: commits become durable, transactions are watched`, {
    skip,
    timeout: 60_000,
  }, async (t) => {
    const directory = fs.realpathSync(scratch(t));
    const root = path.join(directory, "disks");
    for (const disk of ["main", "replica"])
      fs.mkdirSync(path.join(root, disk), { recursive: true });
    const faults = new Faults(root, directory);
    const args = ["--no-warnings", "--input-type=module", "-e", PROGRAM];
    const env = { ...process.env, UV_THREADPOOL_SIZE: "4", ...faults.env };
    const stdio = ["pipe", "pipe", "inherit"] as const;
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: [...stdio] });
    t.after(() => child.kill("SIGKILL"));
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    const said = lines[Symbol.asyncIterator]();
    const says = async (line: string): Promise<void> =>
      assert.equal((await said.next()).value, line);
    const goOn = (): unknown => child.stdin?.write("go on\n");
    await says("open");
    faults.set({ on, path: at, does: "hang" });
    goOn();
    await says("observed");
    await faults.hanging();
    goOn();
    for (const each of ["durable", "read", "warned", "closed"]) await says(each);
    const hang = faults.record().filter(({ detail }) => detail === "hangs");
    assert.equal(hang.length, 1);
    faults.set();
    assert.deepEqual(await once(child, "exit"), [0, null]);
  });
}

function source(name: string): string {
  return JSON.stringify(path.join(import.meta.dirname, "../../src", name));
}
