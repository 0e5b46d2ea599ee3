/** How streams are set up, and what is refused since it cannot keep what it acknowledges. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import { Objm } from "@nats-io/obj";
import { connect } from "@nats-io/transport-node";
import { codes, type LockstepError } from "../../src/errors.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { check, create, type Hazard, plan } from "../../src/stream/nats-admin.ts";
import { lockstep, lockstepJson } from "../cli/lockstep.ts";
import { natsForFile, PASSWORD, startNats, USER, withoutNats } from "../support/nats.ts";
import { soon } from "./messages.ts";

const skip = withoutNats();
const cluster = natsForFile();
let places = 0;
const newName = (): string => `admin${++places}`;

async function administer<T>(
  work: (jsm: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<T>,
  port = cluster().servers[0]?.port,
): Promise<T> {
  const nc = await connect({ servers: `127.0.0.1:${port}`, user: USER, pass: PASSWORD });
  try {
    return await work(await jetstreamManager(nc));
  } finally {
    await nc.close();
  }
}

async function unsafe(url: string, allowed: readonly Hazard[] = []): Promise<string> {
  const error = await check(url, allowed, soon()).then(
    () => assert.fail("it was not refused"),
    (each: LockstepError) => each,
  );
  assert.equal(error.code, codes.UNSAFE, String(error));
  assert.ok(!error.message.includes(PASSWORD));
  return error.what;
}

describe("init", { skip }, () => {
  test("makes what is wanted, once, however often, and it passes", async () => {
    const url = cluster().url(newName(), { monitor: cluster().monitor });
    const planned = await plan(url, {}, soon());
    assert.deepEqual([planned.stream.exists, planned.bucket.exists], [false, false]);
    assert.equal((await plan(url, {}, soon())).stream.exists, false, "a plan makes nothing");
    assert.equal((await create(url, { maxBytes: 1e8 }, soon())).stream.exists, false);
    const again = await create(url, { maxBytes: 1e8 }, soon());
    for (const part of [again.stream, again.bucket]) {
      assert.deepEqual([part.exists, part.differences], [true, []]);
    }
    assert.deepEqual(await check(url, [], soon()), []);
    const other = await plan(url, { maxBytes: 2e8 }, soon());
    assert.deepEqual(other.stream.differences, ["max_bytes is 100000000, not 200000000"]);
  });

  test("four at once make one", async () => {
    const url = cluster().url(newName());
    await Promise.all([1, 2, 3, 4].map(() => create(url, {}, soon())));
    assert.deepEqual((await plan(url, {}, soon())).stream.differences, []);
  });

  test("without a stream there is nothing to be checked", async () => {
    const none = check(cluster().url("none"), [], soon());
    await assert.rejects(none, (error: LockstepError) => error.code === codes.REPLICA_GONE);
  });
});

describe("objects as the servers' own tools know them", { skip }, () => {
  test("theirs are read, ours are theirs", async (t) => {
    const url = cluster().url(newName());
    await create(url, {}, soon());
    const log = await NatsLog.open(url, soon());
    t.after(() => log.close());
    const nc = await connect({
      ...{ servers: `127.0.0.1:${cluster().servers[0]?.port}`, user: USER, pass: PASSWORD },
    });
    t.after(() => nc.close());
    const store = await new Objm(nc).open(`LOCKSTEP_admin${places}`);
    const bytes = Buffer.alloc(1_300_000, "theirs");
    await store.putBlob({ name: "theirs" }, bytes);
    await log.put(
      "ours",
      (async function* () {
        yield bytes;
      })(),
      soon(),
    );
    assert.equal(Buffer.compare((await store.getBlob("ours")) as Uint8Array, bytes), 0);
    const read: Uint8Array[] = [];
    for await (const each of log.get("theirs")) read.push(Uint8Array.from(each));
    assert.equal(Buffer.compare(Buffer.concat(read), bytes), 0);
    assert.deepEqual(await log.objects(), ["ours", "theirs"]);
    await store.delete("ours");
    assert.deepEqual(await log.objects(), ["theirs"]);
    await log
      .put(
        "ours",
        (async function* () {
          yield bytes;
        })(),
        soon(),
      )
      .then(
        () => assert.fail("a name that was used is not used again"),
        (error: LockstepError) => assert.equal(error.code, codes.REPLICA_CHANGED),
      );
    assert.equal((await store.info("ours"))?.deleted, true);
  });
});

describe("refused, by the setting's name", { skip }, () => {
  const cases: [Hazard, string, Partial<StreamConfig>][] = [
    ["replicas", "num_replicas 1", { num_replicas: 1 }],
    ["storage", 'storage "memory"', { storage: "memory" }],
    ["limits", 'discard "old"', { discard: "old" }],
    ["limits", "max_age 60 s", { max_age: 60e9, duplicate_window: 60e9 }],
    ["limits", "max_msgs_per_subject 5", { max_msgs_per_subject: 5 }],
    ["limits", "deny_delete false", { deny_delete: false }],
    ["limits", "allow_rollup_hdrs true", { allow_rollup_hdrs: true }],
    ["limits", 'retention "interest"', { retention: "interest" }],
    ["limits", "no_ack true", { no_ack: true }],
  ];
  for (const [hazard, said, setting] of cases) {
    test(said, async () => {
      const name = newName();
      const url = cluster().url(name, { monitor: cluster().monitor });
      const { stream } = await plan(url, {}, soon());
      await administer((jsm) => jsm.streams.add({ ...stream.wanted, ...setting }));
      await create(url, {}, soon()); // the bucket; the stream is left as it is
      assert.match(await unsafe(url), new RegExp(`${said} of LOCKSTEP_${name}`));
      const accepted = await check(url, [hazard], soon());
      assert.deepEqual([...new Set(accepted.map((each) => each.hazard))], [hazard]);
    });
  }

  test("servers that cannot be asked whether they sync", async () => {
    const name = newName();
    const url = cluster().url(name);
    await create(url, {}, soon());
    assert.match(await unsafe(url), /sync_interval of n\d, n\d, n\d, which cannot be asked/);
    assert.equal((await check(url, ["sync"], soon())).length, 1);
    const one = cluster().servers[0];
    const partly = cluster().url(name, { monitor: one?.monitor ?? "" });
    assert.match(await unsafe(partly), /sync_interval of n[23], n[23], which cannot be asked/);
    const wrong = cluster().url(name, { monitor: "http://127.0.0.1:9" });
    assert.match(await unsafe(wrong), /cannot be asked/);
    assert.deepEqual(await check(cluster().url(name, { system: "sys:system" }), [], soon()), []);
  });

  test("a server that does not sync before it acknowledges, one replica, in memory", async (t) => {
    const alone = await startNats(t, { servers: 1, syncInterval: "1s" });
    const url = alone.url("alone", { monitor: alone.monitor });
    await create(url, { replicas: 1 }, soon());
    const what = await unsafe(url);
    assert.match(what, /num_replicas 1 of LOCKSTEP_alone/);
    assert.match(what, /sync_interval of n1, which is not "always"/);
    assert.match(await unsafe(url, ["replicas"]), /^[^;]*sync_interval[^;]*$/);
    const accepted = await check(url, ["replicas", "sync"], soon());
    assert.deepEqual([...new Set(accepted.map(({ hazard }) => hazard))], ["replicas", "sync"]);
    const bySystem = alone.url("alone", { system: "sys:system" });
    assert.match(await unsafe(bySystem, ["replicas"]), /which is not "always"/);
  });
});

describe("lockstep init", { skip }, () => {
  test("--dry-run makes nothing; then it is made, checked, and made again", () => {
    const name = newName();
    const url = cluster().url(name, { monitor: cluster().monitor });
    const dry = lockstepJson("init", "--dry-run", url);
    assert.equal(dry.status, 0);
    assert.equal(dry.json.made, false);
    assert.equal(dry.json.stream.wanted.num_replicas, 3);
    const text = lockstep("init", "--dry-run", "--max-bytes", "1000000", url);
    assert.match(text.stdout, new RegExp(`stream {2}LOCKSTEP_${name}: would be made`));
    assert.match(text.stdout, /max_bytes 1000000/);
    const made = lockstep("init", url);
    assert.equal(made.status, 0, made.stdout + made.stderr);
    assert.match(made.stdout, new RegExp(`LOCKSTEP_${name}: made`));
    assert.match(made.stdout, /checked/);
    const again = lockstepJson("init", url);
    assert.deepEqual([again.status, again.json.stream.exists, again.json.unsafe], [0, true, []]);
    for (const { stdout, stderr } of [text, made]) {
      assert.ok(!`${stdout}${stderr}`.includes("s3cret"), stdout);
    }
  });

  test("what cannot keep the promise is refused, and named; or accepted", () => {
    const url = cluster().url(newName());
    const refused = lockstepJson("init", url);
    assert.deepEqual([refused.status, refused.json.error.code], [1, codes.UNSAFE]);
    const accepted = lockstep("init", "--allow-unsafe", "sync", url);
    assert.equal(accepted.status, 0, accepted.stderr);
    assert.match(accepted.stdout, /ACCEPTED {2}sync: sync_interval of/);
    const one = lockstep(
      "init",
      "--replicas",
      "1",
      "--allow-unsafe",
      "replicas,sync",
      cluster().url(newName()),
    );
    assert.equal(one.status, 0, one.stderr);
    assert.match(one.stdout, /ACCEPTED {2}replicas: num_replicas 1/);
  });
});

test("lockstep init: wrong use is 2, and repeats no secret", () => {
  const url = "nats://app:s3cret@127.0.0.1:9/name";
  const wrong = [
    [],
    ["/var/lib/app.db"],
    [url, url],
    ["--replicas", "two", url],
    ["--replicas", "1", url],
    ["--max-bytes", "-5", url],
    ["--allow-unsafe", "everything", url],
    ["nats://app:s3cret@127.0.0.1"],
  ];
  for (const args of wrong) {
    const { status, stdout, stderr } = lockstep("init", ...args);
    assert.equal(status, 2, `${args}: ${stdout}${stderr}`);
    assert.ok(!`${stdout}${stderr}`.includes("s3cret"), stderr);
  }
});
