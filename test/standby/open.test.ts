/**
 * `openStandby`: a copy that is read here while a process of its own brings it on. What it is told, and what happens when
 * that process ends, or this one.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import * as better from "../../src/better-sqlite3.ts";
import { loadDriver } from "../../src/driver.ts";
import * as node from "../../src/index.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { follow } from "../../src/standby/follow.ts";
import { Keys } from "../../src/stream/keys.ts";
import { message } from "../stream/messages.ts";
import { readArguments } from "../support/files.ts";
import { until } from "../support/nats.ts";
import { assertEqual, insert, type World, world } from "./world.ts";

/** As far as the two classes are the same. */
type Open = Pick<node.OpenStandby, "reach" | "position" | "failure" | "stopped" | "status"> & {
  close(): unknown;
  prepare(sql: string): { get(): unknown };
};

const drivers: [string, (...args: Parameters<typeof node.openStandby>) => Promise<Open>][] = [
  ["node:sqlite", node.openStandby],
  [
    "better-sqlite3",
    (stream, file, options) => better.openStandby(stream, file, options as object),
  ],
];

const at = ({ writer }: World): string => formatPosition(writer.position);
const countOf = (standby: Open): number =>
  (standby.prepare("SELECT count(*) AS n FROM t").get() as { n: number }).n;
/** The process that follows. */
const followerOf = ({ dest }: World): number =>
  readSidecar(loadDriver("node:sqlite"), dest)?.owner?.pid ?? 0;

for (const [driver, openStandby] of drivers) {
  describe(`a standby that is opened with ${driver}`, () => {
    test("is made, kept up and read; closing it ends that", async (t) => {
      const w = await world(t);
      await w.writer.run(insert(5));
      const standby = await openStandby(w.log.name, w.dest);
      assert.equal(countOf(standby), 5);
      assert.equal(standby.position, at(w));
      for (let i = 0; i < 10; i++) {
        await w.writer.run(insert(2));
        if (i % 4 === 3) w.writer.checkpoint();
        await standby.reach(at(w));
        assert.equal(countOf(standby), 7 + 2 * i);
      }
      assert.equal(standby.failure, null);
      await assert.rejects(openStandby(w.log.name, w.dest), { code: "ERR_LOCKSTEP_LOCKED" });
      standby.close();
      await standby.stopped;
      await w.writer.run(insert(1));
      await follow(w.log, w.dest, { once: true }); // nobody else does
      await assertEqual(w);
      // And on from where it stands.
      const again = await openStandby(w.log.name, w.dest);
      assert.equal(countOf(again), 26);
      again.close();
      await again.stopped;
    });

    test("says why it follows no more, and to whoever waits", async (t) => {
      const w = await world(t);
      const told = Promise.withResolvers<Error>();
      const standby = await openStandby(w.log.name, w.dest, { onFailure: told.resolve });
      const there = at(w);
      await w.writer.run("CREATE TABLE other(x)");
      const waiting = standby.reach(`1/${"ab".repeat(8)}/1/${"cd".repeat(8)}`);
      const refused = assert.rejects(waiting, { code: "ERR_LOCKSTEP_REPLICA_CHANGED" });
      const { last } = await w.log.ends();
      assert.equal(
        await w.log.append(message("no segment"), last, AbortSignal.timeout(5000)),
        null,
      );
      await refused;
      assert.equal(await told.promise, standby.failure);
      await standby.stopped;
      assert.notEqual(await standby.reach(there), there, "what is there is there");
      standby.close();
    });
  });
}

describe("a standby whose follower is killed", () => {
  test("says so, as a warning if nobody else is to hear of it", async (t) => {
    const w = await world(t);
    const standby = await node.openStandby(w.log.name, w.dest);
    const warned = once(process, "warning");
    const died = { code: "ERR_LOCKSTEP_WORKER_DIED" };
    const refused = assert.rejects(standby.reach(`1/${"ab".repeat(8)}/1/${"cd".repeat(8)}`), died);
    process.kill(followerOf(w), "SIGKILL");
    await refused;
    const [warning] = await warned;
    assert.match(String(warning), /LockstepWarning.*follows no more.*SIGKILL/);
    standby.close();
    await w.writer.run(insert(1));
    const again = await node.openStandby(w.log.name, w.dest);
    await again.reach(at(w));
    again.close();
    await again.stopped;
    await assertEqual(w);
  });
});

describe("a standby is not opened", () => {
  test("of what is no stream; and a stream is no replica", async (t) => {
    const w = await world(t);
    const bad = { code: "ERR_LOCKSTEP_BAD_OPTION" };
    await assert.rejects(node.openStandby("/a/file.db", w.dest), bad);
    for (const openReplica of [node.openReplica, better.openReplica]) {
      assert.throws(() => openReplica(w.log.name), { ...bad, message: /openStandby/ });
    }
  });

  test("without what it needs, with the code of what is missing; nothing is left running", async (t) => {
    const w = await world(t);
    for (const name of await w.log.objects()) await w.log.remove(name);
    await assert.rejects(node.openStandby(w.log.name, w.dest), {
      code: "ERR_LOCKSTEP_REPLICA_GONE",
      message: /no snapshot/,
    });
    await assert.rejects(node.openStandby("archive:/nowhere/at/all", w.dest), {
      name: "LockstepError",
    });
  });

  test("if whoever opens it does not want to wait", async (t) => {
    const w = await world(t);
    const reason = new Error("not any more");
    const early = node.openStandby(w.log.name, w.dest, { signal: AbortSignal.abort(reason) });
    await assert.rejects(early, reason);
    const stop = new AbortController();
    const opening = node.openStandby(w.log.name, w.dest, { signal: stop.signal });
    stop.abort(reason);
    await assert.rejects(opening, reason);
    await follow(w.log, w.dest, { once: true }); // nobody else does
    await assertEqual(w);
  });
});

test("a standby whose process is stopped does not say that it is in step", async (t) => {
  const w = await world(t);
  await w.writer.run(insert(1));
  const standby = await node.openStandby(w.log.name, w.dest);
  const pid = followerOf(w);
  process.kill(pid, "SIGSTOP");
  try {
    await w.writer.run(insert(1));
    await until(30_000, "silence", () => standby.status.behind === null);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await standby.reach(at(w));
  await until(20_000, "word of it", () => standby.status.behind === 0);
  assert.equal(standby.failure, null);
  standby.close();
  await standby.stopped;
});

describe("what a standby's process is told", () => {
  const text = `1:${"cd".repeat(32)}`;

  test("is in no list of processes: address and keys", async (t) => {
    const w = await world(t, { keys: Keys.parse(text, "a test") });
    const standby = await node.openStandby(w.log.name, w.dest, { keys: async () => text });
    const seen = readArguments(followerOf(w));
    assert.match(seen, /follower-child/);
    for (const secret of [w.log.name, w.archive, text]) assert.ok(!seen.includes(secret), seen);
    await w.writer.run(insert(1));
    await standby.reach(at(w));
    standby.close();
    await standby.stopped;
    await assertEqual(w);
  });
});

describe("a process that has a standby open", () => {
  /** Says where it stands; with "stay" it goes on living. */
  const script = (w: World, stay: boolean): string => `
    import { openStandby } from ${JSON.stringify(new URL("../../src/index.ts", import.meta.url))};
    const standby = await openStandby(${JSON.stringify(w.log.name)}, ${JSON.stringify(w.dest)});
    console.log(standby.position);
    ${stay ? "setInterval(() => {}, 1000);" : ""}`;

  for (const [how, stay] of [
    ["ends by itself", false],
    ["is killed", true],
  ] as const) {
    test(`${how}: nothing goes on following`, async (t) => {
      const w = await world(t);
      const file = path.join(path.dirname(w.dest), "opens.ts");
      fs.writeFileSync(file, script(w, stay));
      const child = spawn(process.execPath, ["--no-warnings", file], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = once(child, "exit");
      const [said] = await once(child.stdout, "data");
      assert.equal(String(said).trim(), at(w));
      if (stay) child.kill("SIGKILL");
      const [code] = await ended;
      assert.equal(code, stay ? null : 0);
      await w.writer.run(insert(3));
      await until(30_000, "the follower to end", async () => {
        const refused = await follow(w.log, w.dest, { once: true }).then(() => null, codeOf);
        assert.ok(refused === null || refused === "ERR_LOCKSTEP_LOCKED", String(refused));
        return refused === null;
      });
      await assertEqual(w);
    });
  }
});

const codeOf = (error: { code?: unknown }): unknown => error.code;
