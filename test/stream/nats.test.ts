/** A stream on three NATS servers, as every place for a stream must be. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { NatsLog } from "../../src/stream/nats.ts";
import { create } from "../../src/stream/nats-admin.ts";
import { natsForFile, withoutNats } from "../support/nats.ts";
import { conformance } from "./conformance.ts";
import { soon } from "./messages.ts";

const cluster = natsForFile();
let places = 0;

conformance(
  "NATS",
  async () => {
    const url = cluster().url(`place${++places}`);
    await create(url, {}, soon());
    return () => NatsLog.open(url, soon());
  },
  withoutNats(),
);

test("a thread appends while the one that started it is blocked", {
  skip: withoutNats(),
}, async (t) => {
  const url = cluster().url(`place${++places}`);
  await create(url, {}, soon());
  const cells = new Int32Array(new SharedArrayBuffer(4));
  const file = new URL("./blocked-worker.ts", import.meta.url);
  const worker = new Worker(file, { workerData: { url, cells, count: 30 } });
  for (let seen = 0; seen < 30; seen = Atomics.load(cells, 0)) {
    assert.notEqual(Atomics.wait(cells, 0, seen, 30_000), "timed-out");
  }
  await once(worker, "exit");
  const log = await NatsLog.open(url, soon());
  t.after(() => log.close());
  assert.deepEqual(await log.ends(), { first: 1, last: 30 });
});
