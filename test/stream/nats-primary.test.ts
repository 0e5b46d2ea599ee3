/** The same with servers: what is acknowledged is on a majority of them, and a start finds out what is not known. */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import type { NatsLog } from "../../src/stream/nats.ts";
import { create } from "../../src/stream/nats-admin.ts";
import { openStream } from "../../src/stream/open.ts";
import { type Ending, scratch } from "../scratch.ts";
import { natsForFile, withoutNats } from "../support/nats.ts";
import { all, soon } from "./messages.ts";
import { Streamed } from "./streamed.ts";

const cluster = natsForFile();
let places = 0;

async function streamedOn(t: Ending, settings: Record<string, string> = {}): Promise<Streamed> {
  const url = cluster().url(`primary${++places}`, { monitor: cluster().monitor, ...settings });
  await create(url, {}, soon());
  return new Streamed(fs.realpathSync(scratch(t)), url);
}

describe("a primary with a stream on three servers", { skip: withoutNats() }, () => {
  test("over many commits, generations and openings", async (t) => {
    const streamed = await streamedOn(t);
    for (let life = 0; life < 3; life++) {
      await streamed.life((db) => streamed.put(db, 40, 3000), { checkpointBytes: 100_000 });
    }
  });

  test("images are made while it is written, and what is older is removed", async (t) => {
    const streamed = await streamedOn(t, { imageBytes: "300000", keep: "0m" });
    const db = streamed.open({ checkpointBytes: 50_000 });
    const deadline = Date.now() + 60_000;
    while ((await streamed.ends()).first < 100) {
      assert.ok(Date.now() < deadline, "the stream was not shortened");
      streamed.put(db, 20, 3000);
    }
    db.close();
    await streamed.assertEqual();
  });

  test("another primary has opened it: the old one's next commit is fenced", async (t) => {
    const streamed = await streamedOn(t);
    const db = streamed.open();
    streamed.put(db, 3);
    const clone = streamed.clone("clone");
    const second = clone.open();
    clone.put(second, 3);
    assert.throws(() => streamed.put(db), { code: "ERR_LOCKSTEP_FENCED" });
    db.close();
    second.close();
    await clone.assertEqual();
  });

  test("it ends before what is on record: not before its servers were asked for a while", async (t) => {
    const streamed = await streamedOn(t);
    await streamed.life((db) => streamed.put(db, 3));
    const { log } = await openStream(streamed.address);
    const messages = await all(log.read(1, { to: (await log.ends()).last }));
    await (log as NatsLog).link.jsm.streams.delete(`LOCKSTEP_primary${places}`);
    await log.close();
    await create(streamed.address, {}, soon());
    const shorter = (await openStream(streamed.address)).log;
    for (const [i, { bytes }] of messages.slice(0, -1).entries()) {
      assert.equal(await shorter.append(bytes, i, soon()), null);
    }
    const held = new RegExp(`ends at message ${messages.length - 1}, and held ${messages.length}`);
    assert.throws(() => streamed.open(), { code: "ERR_LOCKSTEP_REWOUND", what: held });
    assert.equal((await shorter.ends()).last, messages.length - 1);
    await shorter.close();
  });

  test("the server that leads is killed and comes back: commits wait, and none is lost", async (t) => {
    const streamed = await streamedOn(t);
    const db = streamed.open({ durability: "barrier" });
    const leader = await cluster().leaderOf(`LOCKSTEP_primary${places}`);
    for (let i = 0; i < 30; i++) {
      streamed.put(db, 3);
      if (i === 10) await leader.kill();
      await db.replication?.durable();
      if (i === 20) await leader.start();
    }
    db.close();
    await cluster().ready();
    await streamed.assertEqual();
  });

  test("no majority: the commit is in doubt; the next start finds out", async (t) => {
    const streamed = await streamedOn(t);
    const db = streamed.open({ replicaTimeout: 3000 });
    streamed.put(db, 3);
    const [, second, third] = cluster().servers;
    for (const server of [second, third]) server?.pause();
    assert.throws(() => streamed.put(db), { code: "ERR_LOCKSTEP_IN_DOUBT" });
    for (const server of [second, third]) server?.resume();
    db.close();
    await cluster().ready();
    await streamed.life((again) => {
      const [row] = again.prepare("SELECT max(n) AS n FROM t").all();
      const found = Number(row?.["n"]);
      assert.ok(found === 3 || found === 4, `${found}`);
      streamed.acknowledged = found;
      streamed.put(again, 3);
    });
  });

  test("with degrade commits go on without a majority, and it comes back", async (t) => {
    const streamed = await streamedOn(t);
    const replicas = [path.join(streamed.root, "file.db"), streamed.address];
    const db = streamed.open({ replicas, onReplicaFailure: "degrade", replicaTimeout: 2000 });
    const { replication } = db;
    assert.ok(replication);
    streamed.put(db, 3);
    const [, second, third] = cluster().servers;
    for (const server of [second, third]) server?.pause();
    streamed.put(db, 10);
    const rejoined = once(replication as never, "rejoined");
    for (const server of [second, third]) server?.resume();
    await rejoined;
    streamed.put(db, 3);
    db.close();
    await streamed.assertEqual();
  });

  test("a stream that is not there is not made; one that cannot keep the promise is refused", async (t) => {
    const missing = new Streamed(fs.realpathSync(scratch(t)), cluster().url("missing"));
    assert.throws(() => missing.open(), { code: /ERR_LOCKSTEP_(REPLICA_GONE|UNSAFE)/ });
    const unproven = await streamedOn(t);
    const address = unproven.address.replace(/\?.*/, "");
    const other = new Streamed(unproven.root, address, "other");
    assert.throws(() => other.open(), { code: "ERR_LOCKSTEP_UNSAFE" });
    const accepted = new Streamed(unproven.root, `${address}?allowUnsafe=sync`, "accepted");
    const db = accepted.open();
    accepted.put(db);
    const [warning] = await once(db.replication as never, "warning");
    assert.equal(warning.kind, "unsafe-stream");
    assert.match(warning.what, /sync_interval/);
    assert.doesNotMatch(JSON.stringify(warning), /s3cret/);
    db.close();
    await accepted.assertEqual();
  });
});
