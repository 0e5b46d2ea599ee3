/** `npm start -- DATABASE REPLICA --listen ADDRESS`, as the README says it, with the real npm. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { scratch } from "../scratch.ts";
import { ask } from "../serve/ask.ts";
import { assertAtRest, readAtRest, runSql } from "../support/files.ts";
import { elsewhere } from "../support/program.ts";

const root = path.join(import.meta.dirname, "../..");
const npm = spawnSync("npm", ["--version"]).status !== 0 && "there is no npm";

test("a database of somebody's: copied, verified, followed, shown", { skip: npm }, async (t) => {
  const readme = fs.readFileSync(path.join(root, "README.md"), "utf8");
  assert.match(readme, /^ {4}npm start -- some\.db replica\.db --listen 127\.0\.0\.1:9090 /m);
  const directory = fs.realpathSync(scratch(t));
  const [database, replica] = ["some.db", "replica.db"].map((name) => path.join(directory, name));
  assert.ok(database && replica);
  runSql(database, "CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(1000000))"); // not in WAL mode
  const args = ["start", "--", database, replica, "--listen", "127.0.0.1:0"];
  const child = spawn("npm", args, {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  t.after(() => {
    try {
      process.kill(-(child.pid as number), "SIGKILL");
    } catch {} // it has ended
  });
  let said = "";
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (complaint += text));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const until = async (what: RegExp): Promise<string> => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, `${said}\n${complaint}`);
      said += `${value}\n`;
      const found = what.exec(value);
      if (found) return found[1] ?? "";
    }
  };
  const address = await until(/^The page\s+http:\/\/(127\.0\.0\.1:\d+)\//);
  assert.match(said, /^Copying .*100 %/m);
  assert.match(said, /^Identical /m);
  const answers = elsewhere(database, ["INSERT INTO t VALUES ('by another program')"]);
  assert.deepEqual(answers, [{ rows: [] }]);
  const durable = await ask(address, "/durable", { method: "POST" });
  assert.equal(durable.status, 200, durable.text);
  assert.match((await ask(address, "/")).text, /<h1 id="headline">/);
  const { healthy, replicas } = JSON.parse((await ask(address, "/status.json")).text);
  assert.deepEqual([healthy, replicas[0].path], [true, replica]);
  const closed = once(child, "close");
  process.kill(-(child.pid as number), "SIGINT"); // as Ctrl-C does: npm and what it runs
  await until(/^Stopped /);
  await closed;
  assertAtRest(database, [replica]);
  const rows = readAtRest(replica, (db) => db.prepare("SELECT count(*) AS n FROM t").all());
  assert.equal(rows[0]?.["n"], 2);
});

test("an address that makes no sense is said before anything is done", { skip: npm }, (t) => {
  const directory = scratch(t);
  const [database, replica] = ["some.db", "replica.db"].map((name) => path.join(directory, name));
  runSql(database as string, "CREATE TABLE t (x)");
  const run = [path.join(root, "examples/ledger.ts"), database, replica] as string[];
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--no-warnings", ...run, "--listen", "0.0.0.0:80"],
    { encoding: "utf8" },
  );
  assert.equal(status, 2);
  assert.match(stderr, /other machines reach/);
  assert.ok(!fs.existsSync(replica as string));
});
