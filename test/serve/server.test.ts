/** What is answered to whom: the routes, and the three things that tell a foreign page. */
import assert from "node:assert/strict";
import { once } from "node:events";
import path from "node:path";
import { test } from "node:test";
import { codes, LockstepError } from "../../src/errors.ts";
import { version } from "../../src/serve/snapshot.ts";
import { Pair } from "../dropin/pair.ts";
import { scratch } from "../scratch.ts";
import { type Answer, ask, say, served } from "./ask.ts";
import { Still } from "./handle.ts";
import { readMetrics } from "./prometheus.ts";

const json = ({ text }: Answer) => JSON.parse(text);

test("a healthy replication: healthz, status.json, metrics, on a port and on a socket", async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const db = pair.open();
  await once(db.replication as never, "warning"); // both are on one disk
  db.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
  for (const listen of ["127.0.0.1:0", path.join(scratch(t), "a.sock")]) {
    const { address } = await served(t, db.replication, { listen });
    const health = await ask(address, "/healthz");
    const { warnings, ...healthy } = json(health);
    assert.deepEqual([health.status, healthy], [200, { healthy: true, reasons: [] }]);
    assert.deepEqual(warnings, db.replication.status.warnings);

    const { at, ...status } = json(await ask(address, "/status.json"));
    assert.equal(new Date(at).toISOString(), at);
    const { position, logBytes } = db.replication.status.primary;
    const [replica] = status.replicas;
    assert.deepEqual(status, {
      version,
      primary: {
        path: pair.primary,
        position,
        logBytes,
        logLimitBytes: 32 << 20,
        oldestReaderMs: null,
        openTransactionMs: null,
        freeBytes: status.primary.freeBytes,
      },
      replicas: [
        {
          path: pair.replica,
          asynchronous: false,
          state: "mirroring",
          position,
          lag: { frames: 0, bytes: 0, seconds: 0 },
          lastProof: null,
          lastError: null,
          syncMs: replica.syncMs,
          freeBytes: replica.freeBytes,
        },
      ],
      failure: null,
      healthy: true,
      reasons: [],
      warnings: db.replication.status.warnings,
      commits: 2,
      bytes: db.replication.metrics.bytes,
      checkpoints: 0,
      ringBytes: 0,
      ringLimitBytes: 2 << 20,
      history: [],
      events: status.events,
    });

    const metrics = await ask(address, "/metrics");
    assert.equal(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    const samples = readMetrics(metrics.text);
    assert.equal(samples.get("lockstep_commits_total")?.[0]?.value, 2);
    assert.equal(samples.get("lockstep_replica_sync_duration_seconds_count")?.length, 1);
  }
});

test("what is wrong is said: failed, detached, rotten", async (t) => {
  const still = new Still();
  const { address } = await served(t, still.handle);
  const [replica] = still.status.replicas;
  assert.ok(replica);
  const parts = { copy: replica.path, what: "The disk is full", state: "Whole", next: "Make room" };
  const lastError = new LockstepError(codes.REPLICA_FULL, parts);
  const unhealthy = async (status: Partial<typeof still.status>, reason: RegExp): Promise<void> => {
    still.status = { ...still.status, ...status };
    const health = await ask(address, "/healthz");
    assert.deepEqual([health.status, json(health).healthy], [503, false]);
    const { reasons } = json(health);
    assert.match(reasons.map(({ what }: { what: string }) => what).join("\n"), reason);
    for (const { next } of reasons) assert.match(next, /^\w.*[^.]$/);
    readMetrics((await ask(address, "/metrics")).text);
  };
  await unhealthy(
    { replicas: [{ ...replica, state: "detached", lastError }] },
    /without it: The disk/,
  );
  await unhealthy({ replicas: [{ ...replica, state: "rejoining" }] }, /may lack/);
  await unhealthy(
    { replicas: [{ ...replica, state: "failed", lastError }] },
    /is failed: The disk/,
  );
  await unhealthy({ replicas: [{ ...replica, state: "closed" }] }, /is closed/);
  const rot = [1, 2].map((page) => ({ copy: replica.path, page, owner: null }));
  await unhealthy({ replicas: [replica], rot }, /has 2 pages that have rotted/);
  await unhealthy(
    { rot: [], failure: lastError },
    /Nothing more is acknowledged: The disk is full/,
  );
  const { copy: _, ...shown } = parts;
  const { failure } = json(await ask(address, "/status.json"));
  assert.deepEqual(failure, { code: codes.REPLICA_FULL, ...shown });
});

test("every answer forbids to keep, frame, sniff or extend it", async (t) => {
  const { address } = await served(t, new Still().handle);
  for (const path of ["/", "/healthz", "/metrics", "/status.json", "/durable", "/none"]) {
    const { headers } = await ask(address, path);
    assert.match(String(headers["content-security-policy"]), /^default-src 'self'/, path);
    assert.equal(headers["cache-control"], "no-store");
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.equal(headers["access-control-allow-origin"], undefined);
  }
});

test("each path takes its method only; HEAD is GET without the body", async (t) => {
  const { address } = await served(t, new Still().handle);
  const wrong: [method: string, path: string, allow: string][] = [
    ["GET", "/durable", "POST"],
    ["PUT", "/durable", "POST"],
    ["POST", "/healthz", "GET, HEAD"],
    ["DELETE", "/status.json", "GET, HEAD"],
    ["OPTIONS", "/metrics", "GET, HEAD"],
    ["POST", "/", "GET, HEAD"],
  ];
  for (const [method, path, allow] of wrong) {
    const { status, headers } = await ask(address, path, { method });
    assert.deepEqual([status, headers["allow"]], [405, allow], `${method} ${path}`);
  }
  const { status, headers, text } = await ask(address, "/healthz", { method: "HEAD" });
  assert.deepEqual([status, text], [200, ""]);
  const full = await ask(address, "/healthz");
  assert.equal(headers["content-length"], String(full.text.length));
  for (const path of ["/none", "/constructor", "/__proto__", "/..%2fetc"]) {
    assert.equal((await ask(address, path)).status, 404, path);
  }
});

test("a page of another site cannot ask, whichever way it tries", async (t) => {
  const still = new Still();
  const { address } = await served(t, still.handle, { hosts: ["db.example"] });
  const port = address.split(":")[1];
  const statusOf = async (headers: Record<string, string>, method = "GET"): Promise<number> =>
    (await ask(address, method === "POST" ? "/durable" : "/healthz", { method, headers })).status;
  // DNS rebinding: the browser believes to ask its own site.
  for (const Host of ["evil.example", `evil.example:${port}`, "localhost.evil.example"]) {
    assert.equal(await statusOf({ Host }), 403, Host);
  }
  const nameless = "GET /healthz HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n";
  assert.match(await say(address, nameless), /^HTTP\/1.1 403 /);
  for (const Host of [
    address,
    `localhost:${port}`,
    `[::1]:${port}`,
    "db.example",
    "DB.example:1",
  ]) {
    assert.equal(await statusOf({ Host }), 200, Host);
  }
  for (const Origin of [
    "http://evil.example",
    "null",
    "http://127.0.0.1:1",
    `https://${address}`,
  ]) {
    assert.equal(await statusOf({ Origin }, "POST"), 403, Origin);
    assert.equal(await statusOf({ Origin }), 403, Origin);
  }
  assert.equal(await statusOf({ Origin: `http://${address}` }), 200, "the page itself");
  for (const site of ["cross-site", "same-site"]) {
    const fetched = { "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors" };
    assert.equal(await statusOf(fetched), 403, site);
    assert.equal(await statusOf(fetched, "POST"), 403, site);
    const followed = { "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate" };
    assert.equal(await statusOf(followed), 200, "a link may lead here");
    assert.equal(await statusOf(followed, "POST"), 403, "a form may not");
  }
  assert.equal(still.waiting.length, 0);
});

test("what is too large or no HTTP is refused", async (t) => {
  const { address } = await served(t, new Still().handle);
  const head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  assert.match(await say(address, `${head}\r\n`), /^HTTP\/1.1 200 /);
  assert.match(await say(address, `${head}X: ${"x".repeat(9000)}\r\n\r\n`), /^HTTP\/1.1 431 /);
  assert.match(await say(address, "hello\r\n\r\n"), /^HTTP\/1.1 400 /);
  assert.match(
    await say(address, "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"),
    /^HTTP\/1.1 400 /,
  );
  assert.match(
    await say(address, `${head.replace("/healthz", "http://[/")}\r\n`),
    /^HTTP\/1.1 400 /,
  );
});

test("the same port twice is refused", async (t) => {
  const still = new Still();
  const { address } = await served(t, still.handle);
  await assert.rejects(served(t, still.handle, { listen: address }), { code: codes.ENDPOINT });
  assert.equal((await ask(address, "/healthz")).status, 200);
});
