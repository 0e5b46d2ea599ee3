/** `POST /durable`: 200 when every copy has it; else who asked is told why, or is no longer waited for. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { codes, LockstepError } from "../../src/errors.ts";
import { Trio } from "../degrade/trio.ts";
import { drivers, Pair } from "../dropin/pair.ts";
import { scratch } from "../scratch.ts";
import { assertAtRest } from "../support/files.ts";
import { Program } from "../support/program.ts";
import { ask, say, served } from "./ask.ts";
import { Still } from "./handle.ts";

for (const driver of drivers) {
  for (const durability of ["commit", "barrier"]) {
    describe(`${driver}, durability ${durability}`, () => {
      test("after the answer every copy has what another program committed", async (t) => {
        const pair = new Pair(t, driver);
        const db = pair.open({ durability });
        const { address } = await served(t, db.replication);
        const program = new Program(t, pair.primary);
        await program.sql("CREATE TABLE t (x)");
        for (let i = 0; i < 5; i++) {
          await program.sql(`INSERT INTO t VALUES (${i})`);
          const { status, text } = await ask(address, "/durable?timeout=20000", { method: "POST" });
          assert.equal(status, 200, text);
          assert.deepEqual(JSON.parse(text), { position: db.replication.status.primary.position });
          pair.assertInStep();
        }
        await program.end();
      });

      test("a failure of a copy is 503, with its code", async (t) => {
        const trio = new Trio(t, driver, durability as "commit");
        const db = trio.open({ onReplicaFailure: "stop" });
        const { address } = await served(t, db.replication);
        await trio.put(db, 1);
        trio.pullOut("two");
        const program = new Program(t, trio.primary);
        await program.sql("INSERT INTO t VALUES (99, '')");
        const { status, text } = await ask(address, "/durable", { method: "POST" });
        const { code, what, state, next } = JSON.parse(text);
        assert.deepEqual([status, code], [503, codes.REPLICA_GONE]);
        for (const part of [what, state, next]) assert.match(part, /\w/);
        const health = await ask(address, "/healthz");
        assert.equal(health.status, 503);
        assert.match(
          JSON.stringify(JSON.parse(health.text).reasons),
          /Nothing more is acknowledged/,
        );
        trio.putBack("two");
        await program.end();
        assert.throws(() => db.exec("SELECT 1"), { code });
        db.close();
        const later = await ask(address, "/durable", { method: "POST" });
        assert.deepEqual([later.status, JSON.parse(later.text).code], [503, code]);
        const again = trio.open();
        again.close();
        assertAtRest(trio.primary, trio.replicas);
      });
    });
  }
}

test("copies that commits go on without are named", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open();
  const { address } = await served(t, db.replication);
  await trio.put(db, 1);
  trio.pullOut("one");
  while (trio.states(db)[0] === "mirroring") await trio.put(db, 1);
  const { status, text } = await ask(address, "/durable", { method: "POST" });
  assert.equal(status, 200);
  assert.deepEqual(JSON.parse(text).without, [trio.replicas[0]]);
  const health = JSON.parse((await ask(address, "/healthz")).text);
  assert.match(JSON.stringify(health.reasons), /detached, commits go on without it/);
  trio.putBack("one");
  await trio.untilRejoined(db, trio.replicas[0]);
  const after = await ask(address, "/durable", { method: "POST" });
  assert.equal(JSON.parse(after.text).without, undefined);
  assert.equal((await ask(address, "/healthz")).status, 200);
  trio.closeAndCompare(db);
});

test("a database that was closed answers for nobody's commits", async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const db = pair.open({ durability: "barrier" });
  const { address } = await served(t, db.replication);
  db.exec("CREATE TABLE t (x)");
  assert.equal((await ask(address, "/durable", { method: "POST" })).status, 200);
  db.close();
  const { status, text } = await ask(address, "/durable", { method: "POST" });
  assert.deepEqual([status, JSON.parse(text).code], [503, codes.ENDPOINT]);
  assert.equal((await ask(address, "/healthz")).status, 503);
});

test("requests at the same time share a round", async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const db = pair.open({ durability: "barrier" });
  const { address } = await served(t, db.replication);
  db.exec("CREATE TABLE t (x)");
  await db.replication.durable();
  const before = db.replication.metrics.commitLatency.count;
  db.exec("INSERT INTO t VALUES (1)");
  const asked = Array.from({ length: 50 }, () => ask(address, "/durable", { method: "POST" }));
  const positions = (await Promise.all(asked)).map(({ status, text }) => {
    assert.equal(status, 200);
    return JSON.parse(text).position;
  });
  assert.equal(new Set(positions).size, 1);
  const rounds = db.replication.metrics.commitLatency.count - before;
  assert.ok(rounds <= 2, `${rounds} rounds`);
});

test("a deadline is 504; the request's own reaches durable()", async (t) => {
  const still = new Still();
  const { address } = await served(t, still.handle);
  const answer = ask(address, "/durable?timeout=250", { method: "POST" });
  while (still.waiting.length === 0) await new Promise(setImmediate);
  assert.equal(still.waiting[0]?.options.timeout, 250);
  const parts = { copy: null, what: "Not yet", state: "Unknown", next: "Ask again" };
  still.waiting[0]?.fail(new LockstepError(codes.DEADLINE, parts));
  const { status, text } = await answer;
  const { copy: _, ...rest } = parts;
  assert.deepEqual([status, JSON.parse(text)], [504, { code: codes.DEADLINE, ...rest }]);
});

test("a real deadline: a moment of 0 ms on a round that takes longer", async (t) => {
  const db = new Pair(t, "node:sqlite").open({ durability: "barrier" });
  const { address } = await served(t, db.replication);
  db.exec("CREATE TABLE t (x)");
  const seen = new Set<number>();
  for (let i = 0; i < 200 && !seen.has(504); i++) {
    db.exec(`INSERT INTO t VALUES (zeroblob(${1 << 20}))`);
    seen.add((await ask(address, "/durable?timeout=0", { method: "POST" })).status);
  }
  assert.ok(seen.has(504), [...seen].join());
  assert.equal((await ask(address, "/durable", { method: "POST" })).status, 200);
});

test("a client that goes away is not waited for", async (t) => {
  const still = new Still();
  const { address } = await served(t, still.handle);
  const gone = new AbortController();
  const asked = ask(address, "/durable", { method: "POST", signal: gone.signal });
  while (still.waiting.length === 0) await new Promise(setImmediate);
  const stopped = new Promise((resolve) =>
    still.waiting[0]?.options.signal?.addEventListener("abort", resolve),
  );
  gone.abort();
  await assert.rejects(asked, { name: "AbortError" });
  await stopped;
});

test("who waits when the server stops is told", async (t) => {
  const still = new Still();
  const socket = path.join(scratch(t), "a.sock");
  const server = await served(t, still.handle, { listen: socket });
  assert.equal(server.address, socket);
  const asked = ask(socket, "/durable", { method: "POST" });
  while (still.waiting.length === 0) await new Promise(setImmediate);
  const began = performance.now();
  await server.close();
  assert.ok(performance.now() - began < 5000);
  const { status, text } = await asked;
  assert.deepEqual([status, JSON.parse(text).code], [503, codes.ENDPOINT]);
  assert.equal(fs.existsSync(socket), false);
});

test("what is not understood is refused, and nothing is waited for", async (t) => {
  const still = new Still();
  const { address } = await served(t, still.handle);
  const statusOf = async (query: string, body?: string): Promise<number> =>
    (await ask(address, `/durable${query}`, { method: "POST", ...(body ? { body } : {}) })).status;
  for (const query of ["?timeout=", "?timeout=-1", "?timeout=1.5", "?timeout=1s", "?timeout=1e3"]) {
    assert.equal(await statusOf(query), 400, query);
  }
  assert.equal(await statusOf("?timeout=1&timeout=2"), 400);
  assert.equal(await statusOf("?tiemout=1"), 400);
  assert.equal(await statusOf("", "x".repeat(5000)), 413);
  const chunked = "POST /durable HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  const chunk = `1000\r\n${"x".repeat(4096)}\r\n`;
  assert.match(await say(address, chunked + chunk + chunk), /^HTTP\/1.1 413 /);
  assert.equal(still.waiting.length, 0);
  const small = ask(address, "/durable", { method: "POST", body: "{}" });
  while (still.waiting.length === 0) await new Promise(setImmediate);
  still.waiting[0]?.answer("1/0/1/0");
  assert.equal((await small).status, 200, "a small body does not matter");
});
