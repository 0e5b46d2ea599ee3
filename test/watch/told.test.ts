/** What the system tells, read: locks, file systems; and a warning, wherever it is to be seen. */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { test } from "node:test";
import { observe } from "../../src/observe/index.ts";
import { kindOf } from "../../src/watch/file-system.ts";
import { holdersIn } from "../../src/watch/locks.ts";
import { Pair } from "../dropin/pair.ts";
import { ask } from "../serve/ask.ts";
import { readMetrics } from "../serve/prometheus.ts";

const line = (n: number, type: string, pid: number, file: string, bytes: string): string =>
  `${n}: POSIX  ADVISORY  ${type.padEnd(5)} ${pid} ${file} ${bytes}\n`;

test("the locks of one -shm: its writer, and who holds which read mark", () => {
  const text = [
    line(1, "READ", 10, "08:01:77", "128 128"),
    line(2, "WRITE", 20, "08:01:77", "120 120"),
    line(3, "READ", 20, "08:01:77", "128 128"),
    line(4, "READ", 30, "08:01:77", "124 125"),
    line(5, "READ", 0, "08:01:77", "123 123"),
    line(6, "WRITE", 40, "08:01:77", "123 126"), // who sets the marks reads nothing
    line(7, "WRITE", 50, "08:02:77", "120 120"), // the same inode on another device
    line(8, "WRITE", 60, "08:01:78", "120 EOF"),
    "9: FLOCK  ADVISORY  WRITE 70 08:01:77 0 EOF\n",
    "9: -> POSIX  ADVISORY  WRITE 80 08:01:77 120 120\n", // it waits
  ].join("");
  const readers = [[0], [30], [30], [], []];
  assert.deepEqual(holdersIn(text, "77", 10), { writers: [20], readers });
  assert.equal(holdersIn(text, "77", 50), null, "it is not known which file that is");
  const both = text + line(10, "READ", 10, "08:02:77", "128 128");
  assert.equal(holdersIn(both, "77", 10), null);
  assert.equal(holdersIn("", "77", 10), null);
});

test("file systems that are no disk of this machine", {
  skip: process.platform !== "linux",
}, () => {
  assert.deepEqual(kindOf(0xef53), { remote: null, fleeting: null });
  assert.equal(kindOf(0x6969).remote, "NFS");
  assert.equal(kindOf(0xfe534d42).remote, "SMB");
  assert.equal(kindOf(0xfe534d42 | 0).remote, "SMB", "told as a negative number");
  assert.equal(kindOf(0x65735546).remote, "FUSE");
  assert.match(kindOf(0x01021994).fleeting ?? "", /tmpfs/);
});

test("events, channels, the log, /healthz, /metrics and the page's data have it", async (t) => {
  const pair = new Pair(t, "node:sqlite");
  const db = pair.open({ lowSpaceBytes: Number.MAX_SAFE_INTEGER, openTransactionMs: 100 });
  const published: object[] = [];
  const hear = (message: unknown): void => void published.push(message as object);
  subscribe("lockstep:warning", hear);
  t.after(() => unsubscribe("lockstep:warning", hear));
  await once(db.replication, "warning");
  await new Promise(setImmediate);
  const { warnings } = db.replication.status;
  assert.deepEqual(
    published,
    warnings.map((each: object) => ({ primary: pair.primary, ...each })),
  );
  const lines: string[] = [];
  const observation = await observe(db, { listen: "127.0.0.1:0", log: (each) => lines.push(each) });
  const [logged] = lines.map((each) => JSON.parse(each));
  assert.deepEqual(
    [logged.level, logged.event, logged.kind, logged.primary],
    ["warning", "warning", warnings[0].kind, pair.primary],
  );
  const address = observation.address ?? "";
  const health = await ask(address, "/healthz");
  assert.equal(health.status, 200, "it is healthy: every copy holds all");
  assert.deepEqual(JSON.parse(health.text).warnings, warnings);
  const samples = readMetrics((await ask(address, "/metrics")).text);
  const low = samples
    .get("lockstep_warnings")
    ?.filter(({ labels }) => labels["kind"] === "low-space");
  assert.deepEqual(
    low?.map(({ labels, value }) => [labels["copy"], value]),
    [pair.primary, pair.replica].map((copy) => [copy, 1]),
  );
  assert.ok((samples.get("lockstep_free_bytes")?.[0]?.value ?? 0) > 0);
  assert.ok((samples.get("lockstep_replica_free_bytes")?.[0]?.value ?? 0) > 0);
  const { events } = observation.snapshot;
  assert.ok(events.some(({ level, what }) => level === "warning" && what === warnings[0].what));
  db.exec("CREATE TABLE t (x); BEGIN");
  await once(db.replication, "warning");
  const { value } = readMetrics((await ask(address, "/metrics")).text).get(
    "lockstep_oldest_transaction_seconds",
  )?.[0] ?? { value: 0 };
  assert.ok(value >= 0.1);
  db.exec("COMMIT");
  await observation.close();
});
