/** `lockstep/observe`: one line for programs that have a database open. */
import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { codes } from "../../src/errors.ts";
import { metricsText, observe } from "../../src/observe/index.ts";
import { Recorder } from "../../src/serve/recorder.ts";
import type { Warning } from "../../src/warning.ts";
import { inTurn } from "../../src/watch/in-turn.ts";
import { Trio } from "../degrade/trio.ts";
import { drivers, Pair } from "../dropin/pair.ts";
import { scratch } from "../scratch.ts";
import { ask } from "../serve/ask.ts";
import { Still } from "../serve/handle.ts";
import { readMetrics } from "../serve/prometheus.ts";

const ON_ONE_DISK: Warning = {
  ...{ kind: "same-disk", copy: "/b/app.db", since: "2026-11-27T07:00:00.000Z" },
  ...{ what: "both are on one disk", next: "move one", stack: null },
};

/** As text in a program. */
const source = (name: string): string =>
  JSON.stringify(path.join(import.meta.dirname, "../../src", name));

/** Runs a program in a process of its own. */
function runHere(cwd: string, code: string): SpawnSyncReturns<string> {
  const args = ["--no-warnings", "--input-type=module", "-e", code];
  return spawnSync(process.execPath, args, { cwd, encoding: "utf8", timeout: 60_000 });
}

for (const driver of drivers) {
  test(`${driver}: with listen there is a server, which ends with close()`, async (t) => {
    const db = new Pair(t, driver).open();
    const observation = await observe(db, { listen: "127.0.0.1:0" });
    const { address } = observation;
    assert.ok(address);
    assert.equal((await ask(address, "/healthz")).status, 200);
    assert.equal(observation.snapshot.healthy, true);
    await observation.close();
    await assert.rejects(ask(address, "/healthz"), { code: "ECONNREFUSED" });
    assert.equal(db.replication.listenerCount("failed"), 0, "nothing of it is left");
  });
}

test("without, nothing listens; the text is there for the application's own server", async (t) => {
  const [one, two] = [new Pair(t, "node:sqlite"), new Pair(t, "better-sqlite3")];
  const all = [await observe(one.open()), await observe(two.open().replication)];
  assert.equal(all[0]?.address, null);
  const samples = readMetrics(metricsText(...all));
  const primaries = samples.get("lockstep_healthy")?.map(({ labels }) => labels["primary"]);
  assert.deepEqual(primaries, [one.primary, two.primary]);
  for (const each of all) await each.close();
});

test("a database without replicas is refused, and so is a wrong address", async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const db = pair.open();
  await assert.rejects(observe(db, { listen: "0.0.0.0:0" }), { code: codes.BAD_OPTION });
  assert.equal(db.replication.listenerCount("failed"), 0);
  db.close();
  await assert.rejects(observe(db), { code: codes.BAD_OPTION, what: /not replicated/ });
});

test("a log that throws at what is so already: nothing listens", async (t) => {
  const still = new Still();
  still.status = { ...still.status, warnings: [ON_ONE_DISK] };
  const listen = path.join(fs.realpathSync(scratch(t)), "a.sock");
  const log = (): void => {
    throw new Error("full");
  };
  await assert.rejects(observe(still.handle, { listen, log }), /^Error: full$/);
  assert.equal(still.handle.listenerCount("warning"), 0);
  const observation = await observe(still.handle, { listen }); // it is free
  await observation.close();
});

test("the log is lines of JSON", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open();
  const lines: string[] = [];
  const log = (line: string): void => {
    if (!line.includes('"level":"warning"')) lines.push(line); // of this machine's disk
  };
  const observation = await observe(db, { log });
  await trio.put(db, 1);
  trio.pullOut("one");
  while (lines.length === 0) await trio.put(db, 1);
  trio.putBack("one");
  await trio.untilRejoined(db, trio.replicas[0]);
  const [degraded, rejoined, ...more] = lines.map((line) => JSON.parse(line));
  assert.deepEqual(more, []);
  const { time, what, state, next, ...rest } = degraded;
  assert.equal(new Date(time).toISOString(), time);
  for (const part of [what, state, next]) assert.match(part, /\w/);
  const [replica] = trio.replicas;
  assert.deepEqual(rest, {
    level: "error",
    event: "degraded",
    primary: trio.primary,
    replica,
    code: codes.REPLICA_GONE,
    copy: replica,
  });
  assert.deepEqual(
    [rejoined.level, rejoined.event, rejoined.replica],
    ["info", "rejoined", replica],
  );
  const { events } = observation.snapshot;
  assert.deepEqual(
    events.filter(({ level }) => level !== "warning").map(({ level, what }) => [level, what]),
    [
      ["error", `Commits go on without ${replica}`],
      ["info", `${replica} holds all again`],
    ],
  );
  await observation.close();
  trio.closeAndCompare(db);
});

for (const [what, skip] of [
  ["is a full disk", !fs.existsSync("/dev/full") && "there is no /dev/full"],
  ["has no reader any more", false],
] as const) {
  test(`a log to stderr that ${what} is no end of the application`, { skip }, async (t) => {
    const code = `
      const { observe } = await import(${source("observe/index.ts")});
      const { Still } = await import(${source("../test/serve/handle.ts")});
      const { handle } = new Still();
      await observe(handle, { log: true });
      for (let i = 0; i < 5; i++) {
        handle.emit("rejoined", "/b/app.db");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const left = process.stderr.listenerCount("error");
      process.stderr.on("error", ({ code }) => console.log(left, "its own affair:", code));
      process.stderr.write("what the application says\\n");`;
    const args = ["--no-warnings", "--input-type=module", "-e", code];
    const full = what === "is a full disk" ? fs.openSync("/dev/full", "w") : null;
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", full ?? "pipe"] });
    if (full !== null) fs.closeSync(full);
    child.stderr?.destroy();
    t.after(() => child.kill("SIGKILL"));
    const [said, [status]] = await Promise.all([
      text(child.stdout as Readable),
      once(child, "close"),
    ]);
    assert.match(said, /^0 its own affair: E(NOSPC|PIPE)\n$/);
    assert.equal(status, 0);
  });
}

test("it keeps no process alive, and its socket goes with the process", (t) => {
  const directory = fs.realpathSync(scratch(t));
  const { stdout, stderr, status } = runHere(
    directory,
    `const { DatabaseSync } = await import(${source("index.ts")});
    const { observe } = await import(${source("observe/index.ts")});
    const db = new DatabaseSync("app.db", { replicas: ["copy.db"] });
    const { address } = await observe(db, { listen: "./a.sock", log: true });
    console.log(address);`,
  );
  // If it lives for long enough it is warned that its copies are on one disk.
  const unforeseen = stderr.split("\n").filter((line) => !/^$|"kind":"same-disk"/.test(line));
  assert.deepEqual([stdout.trim(), unforeseen, status], [path.join(directory, "a.sock"), [], 0]);
  assert.ok(!fs.existsSync(path.join(directory, "a.sock")));
});

for (const driver of drivers) {
  test(`${driver}: of a connection that was closed past the drop-in no transaction is open`, (t) => {
    const name = driver === "node:sqlite" ? "DatabaseSync" : "default";
    const { stdout, stderr, status } = runHere(
      fs.realpathSync(scratch(t)),
      `const { ${name}: Database } = await import(${source(driver === "node:sqlite" ? "index.ts" : "better-sqlite3.ts")});
      const { ${name}: Original } = await import(${JSON.stringify(import.meta.resolve(driver))});
      const db = new Database("app.db", { replicas: ["copy.db"] });
      const { replication } = db;
      db.exec("CREATE TABLE t (x); BEGIN");
      Original.prototype.close.call(db);
      console.log(replication.metrics.openTransactionMs);`,
    );
    assert.deepEqual([stdout.trim(), stderr, status], ["null", "", 0]);
  });
}

test("a sample each ten seconds, for an hour; the newest 200 events", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const still = new Still();
  const recorder = new Recorder(still.handle);
  t.after(() => recorder.close());
  still.commits.add(1);
  still.syncs.add(3);
  still.counted = { commits: 7, bytes: 700 };
  t.mock.timers.tick(10_000);
  const [first] = recorder.history;
  assert.deepEqual([first?.seconds, first?.commits, first?.bytes], [10, 7, 700]);
  assert.ok(first?.commitMs && Math.abs(first.commitMs.p50 - 1) < 0.25);
  assert.ok(first?.syncMs[0] && Math.abs(first.syncMs[0].p99 - 3) < 0.75);
  const inTheMinute = () => recorder.syncsOfLastMinute(0, still.handle.metrics)?.count;
  t.mock.timers.tick(40_000);
  assert.equal(inTheMinute(), 1);
  t.mock.timers.tick(20_000);
  assert.equal(inTheMinute(), 0, "it is longer ago");
  assert.deepEqual(recorder.history[1], {
    ...first,
    at: recorder.history[1]?.at,
    commits: 0,
    bytes: 0,
    commitMs: null,
    syncMs: [null],
  });
  for (let i = 0; i < 400; i++) t.mock.timers.tick(10_000);
  assert.equal(recorder.history.length, 360);
  for (let i = 1; i <= 250; i++) recorder.note("info", String(i), "");
  assert.equal(recorder.events.length, 200);
  assert.equal(recorder.events.at(-1)?.what, "250");
});

test("a checkpoint that is put off again and again is one event, until it is done", (t) => {
  const { handle } = new Still();
  const recorder = new Recorder(handle);
  t.after(() => recorder.close());
  handle.emit("checkpoint");
  for (let i = 0; i < 5; i++) handle.emit("checkpoint-postponed", "a reader", i);
  handle.emit("checkpoint");
  handle.emit("checkpoint-postponed", "a reader", 0);
  assert.deepEqual(
    recorder.events.map(({ level }) => level),
    ["warning", "info", "warning"],
  );
});

test("the last proof is read from beside the replica, and is null if it makes no sense, or is of another copy", async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const { replication } = pair.open();
  const recorder = new Recorder(replication);
  t.after(() => recorder.close());
  const copyId = replication.status.replicas[0]?.copyId;
  assert.ok(copyId);
  const found = { format: 1, copyId, proven: false, position: null, why: "it was cut off" };
  const proof = `${pair.replica}-lockstep-proof`;
  t.after(() => fs.rmSync(proof, { force: true }));
  const proven = async (): Promise<string | null> => {
    recorder.proofs.refresh();
    await new Promise<void>((resolve) => inTurn(async () => resolve())); // that comes after it
    return recorder.proofs.of(pair.replica);
  };
  assert.equal(await proven(), null);
  const times = { at: "2026-11-27T07:00:00Z", provenAt: "2026-11-26T07:00:00Z" };
  fs.writeFileSync(proof, JSON.stringify({ ...found, ...times }));
  assert.equal(await proven(), "2026-11-26T07:00:00.000Z");
  for (const text of [
    "",
    "{}",
    "null",
    JSON.stringify({ ...found, ...times, provenAt: "soon" }),
    JSON.stringify({ ...found, ...times, provenAt: null }),
    JSON.stringify({ ...found, ...times, copyId: "of a copy that stood here before" }),
    JSON.stringify(times),
    "[]",
  ]) {
    fs.writeFileSync(proof, text);
    assert.equal(await proven(), null, text);
  }
  fs.rmSync(proof);
});
