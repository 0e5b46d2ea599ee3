/**
 * A stream that is not there, not what it was, full, or not for this user: each is an error that says
 * so, and nothing is written to a stream that is another.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { codes, type LockstepError } from "../../src/errors.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { create } from "../../src/stream/nats-admin.ts";
import { natsForFile, PASSWORD, USER, withoutNats } from "../support/nats.ts";
import { all, fill, message, soon } from "./messages.ts";
import { openLog, placesOn, streamOf } from "./places.ts";

const skip = withoutNats();
const WRITER = "limited";
const cluster = natsForFile({
  users: `
    { user: ${WRITER}, password: w, permissions {
      publish: [${writerMay("limited").map((subject) => JSON.stringify(subject))}]
      subscribe: ["_INBOX_w.>"] } }
    { user: reader, password: r, permissions { publish { deny: ["lockstep.>"] } } }`,
});
const newPlace = placesOn(cluster);

async function failure(promise: Promise<unknown>): Promise<LockstepError> {
  try {
    await promise;
  } catch (error) {
    return error as LockstepError;
  }
  assert.fail("it did not fail");
}

describe("a stream that is not what it was", { skip, concurrency: true }, () => {
  async function administer(work: (jsm: Awaited<ReturnType<typeof jetstreamManager>>) => unknown) {
    const servers = cluster().servers.map(({ port }) => `127.0.0.1:${port}`);
    const nc = await connect({ servers, user: USER, pass: PASSWORD });
    try {
      await work(await jetstreamManager(nc));
    } finally {
      await nc.close();
    }
  }

  test("removed: gone, whoever asks, and nobody makes it anew", async (t) => {
    const url = await newPlace();
    const [log, idle, reader] = [
      await openLog(t, url),
      await openLog(t, url),
      await openLog(t, url),
    ];
    await fill(log, 5);
    const lost = new Promise<LockstepError>((resolve) => {
      idle.onLoss = resolve;
    });
    const reading = failure(all(reader.read(4, { live: soon() })));
    await administer((jsm) => jsm.streams.delete(streamOf(url)));
    const failures = [
      failure(log.append(message("m6"), 5, soon())),
      failure(idle.ends()),
      lost,
      reading,
      failure(NatsLog.open(url, soon())),
    ];
    for (const each of await Promise.all(failures)) {
      assert.equal(each.code, codes.REPLICA_GONE, String(each));
    }
    await administer(async (jsm) => {
      for await (const name of jsm.streams.names()) assert.notEqual(name, streamOf(url));
    });
  });

  test("made anew with fewer messages: rewound, and nothing is written to it", async (t) => {
    const url = await newPlace();
    const [log, idle, reader] = [
      await openLog(t, url),
      await openLog(t, url),
      await openLog(t, url),
    ];
    await fill(log, 5);
    const lost = new Promise<LockstepError>((resolve) => {
      idle.onLoss = resolve;
    });
    const reading = failure(all(reader.read(4, { live: soon() })));
    await administer((jsm) => jsm.streams.delete(streamOf(url)));
    await create(url, {}, soon());
    const other = await openLog(t, url);
    await fill(other, 3);
    const failures = [
      failure(log.append(message("m6"), 5, soon())),
      failure(log.ends()),
      lost,
      reading,
    ];
    for (const each of await Promise.all(failures)) {
      assert.equal(each.code, codes.REWOUND, String(each));
    }
    assert.deepEqual(await other.ends(), { first: 1, last: 3 });
  });

  test("made anew with more messages: rewound, not somebody else's message", async (t) => {
    const url = await newPlace();
    const log = await openLog(t, url);
    await fill(log, 2);
    await administer((jsm) => jsm.streams.delete(streamOf(url)));
    await create(url, {}, soon());
    await fill(await openLog(t, url), 4);
    assert.equal((await failure(log.append(message("m3"), 2, soon()))).code, codes.REWOUND);
    assert.equal((await failure(log.ends())).code, codes.REWOUND);
  });

  test("shorter than what is on record of it: asked again, then rewound; empty, it is a new one", async (t) => {
    const url = await newPlace();
    const log = await openLog(t, url);
    await fill(log, 2);
    const knowing = async (known: number): Promise<NatsLog> => {
      const opened = await NatsLog.open(url, soon(), { known });
      t.after(() => opened.close());
      return opened;
    };
    const asked = (await knowing(3)).ends();
    await log.ends(); // it was told of two messages by now
    await fill(log, 1);
    assert.deepEqual(await asked, { first: 1, last: 3 });
    assert.equal((await failure((await knowing(4)).ends())).code, codes.REWOUND);
    const empty = await NatsLog.open(await newPlace(), soon(), { known: 4 });
    t.after(() => empty.close());
    assert.deepEqual(await empty.ends(), { first: 1, last: 0 });
  });

  test("shorter than a writer knows from before: in doubt, then rewound", async (t) => {
    const log = await openLog(t, await newPlace());
    await fill(log, 2);
    const early = await failure(log.append(message("x"), 9, AbortSignal.timeout(1000)));
    assert.equal(early.code, codes.IN_DOUBT);
    assert.equal((await failure(log.append(message("x"), 9, soon()))).code, codes.REWOUND);
    assert.deepEqual(await log.ends(), { first: 1, last: 2 });
  });

  test("full: the append fails, and what is there stays", async (t) => {
    const log = await openLog(t, await newPlace({ maxBytes: 100_000 }));
    const full = await failure(fill(log, 100, 10_000));
    assert.equal(full.code, codes.REPLICA_FULL, String(full));
    const { first, last } = await log.ends();
    assert.ok(first === 1 && last > 3, `${last}`);
    await log.purge(last);
    assert.equal(await log.append(message("more"), last, soon()), null);
  });

  test("a message removed from the middle is missed", async (t) => {
    const url = await newPlace();
    const bucket = streamOf(url);
    await administer(async (jsm) => {
      await jsm.streams.delete(bucket);
      await jsm.streams.add({ name: bucket, subjects: [`lockstep.place${bucket.slice(14)}`] });
    });
    const log = await openLog(t, url);
    await fill(log, 6);
    await administer((jsm) => jsm.streams.deleteMessage(bucket, 4));
    assert.equal((await failure(all(log.read(1, { to: 6 })))).code, codes.REPLICA_CHANGED);
    assert.equal((await all(log.read(5, { to: 6 }))).length, 2);
  });
});

describe("who may do what", { skip, concurrency: true }, () => {
  test("a wrong password: at once, and it is in no message", async () => {
    const url = cluster().url("any", {}, USER, "wr0ng");
    const began = performance.now();
    const error = await failure(NatsLog.open(url, soon()));
    assert.equal(error.code, codes.REPLICA_IO);
    assert.ok(performance.now() - began < 20_000);
    for (const text of [error.message, JSON.stringify(error), String(error.cause)]) {
      assert.ok(!text.includes("wr0ng"), text);
    }
  });

  test("servers without the stream: gone, and none is made", async () => {
    const error = await failure(NatsLog.open(cluster().url("none"), soon()));
    assert.equal(error.code, codes.REPLICA_GONE);
  });

  test("no servers: a timeout, when the signal comes", async () => {
    const nowhere = NatsLog.open("nats://127.0.0.1:9/none", AbortSignal.timeout(500));
    assert.equal((await failure(nowhere)).code, codes.REPLICA_TIMEOUT);
  });

  test("a user who may only read: refused, nothing in doubt", async (t) => {
    const url = await newPlace();
    const name = url.split("/").pop() as string;
    await fill(await openLog(t, url), 2);
    const log = await openLog(t, cluster().url(name, {}, "reader", "r"));
    assert.equal((await all(log.read(1, { to: 2 }))).length, 2);
    const error = await failure(log.append(message("no"), 2, soon()));
    assert.equal(error.code, codes.REPLICA_IO, String(error));
    assert.deepEqual(await log.ends(), { first: 1, last: 2 });
  });

  test("a user with the permissions of docs/nats.md does all that a writer does", async (t) => {
    await newPlace({}, "limited");
    const log = await openLog(
      t,
      cluster().url("limited", { inbox: "_INBOX_w" }, WRITER, "w"),
      5000,
    );
    await fill(log, 5);
    assert.equal(await log.force(message("forced"), soon()), 6);
    assert.equal((await log.append(message("late"), 5, soon()))?.sequence, 6);
    assert.equal((await all(log.read(1, { to: 6 }))).length, 6);
    await log.purge(3);
    await log.put(
      "object",
      (async function* () {
        yield Buffer.from("whole");
      })(),
      soon(),
    );
    for await (const chunk of log.get("object")) assert.equal(String(chunk), "whole");
    assert.deepEqual(await log.objects(), ["object"]);
    await log.remove("object");
    assert.equal(await log.sweep(new Date()), 0);
    // And nothing else.
    const elsewhere = cluster().url("other", { inbox: "_INBOX_w" }, WRITER, "w");
    await assert.rejects(create(elsewhere, {}, AbortSignal.timeout(3000)));
  });
});

/** What docs/nats.md lists for a writer. */
function writerMay(name: string): string[] {
  const [stream, bucket] = [`LOCKSTEP_${name}`, `OBJ_LOCKSTEP_${name}`];
  return [
    `lockstep.${name}`,
    `$O.LOCKSTEP_${name}.>`,
    ...[stream, bucket].flatMap((each) => [
      `$JS.API.STREAM.INFO.${each}`,
      `$JS.API.STREAM.MSG.GET.${each}`,
      `$JS.API.STREAM.PURGE.${each}`,
      `$JS.API.DIRECT.GET.${each}`,
    ]),
    `$JS.API.CONSUMER.CREATE.${stream}.>`,
    `$JS.API.CONSUMER.CREATE.${stream}`,
    `$JS.API.CONSUMER.MSG.NEXT.${stream}.>`,
    `$JS.API.CONSUMER.DELETE.${stream}.>`,
  ];
}
