/**
 * What becomes of a message when its servers fail in the middle: nothing that was acknowledged is lost,
 * nothing is there twice, and what is not known is said to be in doubt.
 */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { codes, type LockstepError } from "../../src/errors.ts";
import type { NatsLog } from "../../src/stream/nats.ts";
import { DeafProxy } from "../support/deaf-proxy.ts";
import { type NatsServer, natsForFile, until, withoutNats } from "../support/nats.ts";
import { Load } from "./load.ts";
import { all, fill, message, soon, textOf } from "./messages.ts";
import { openLog, placesOn, streamOf } from "./places.ts";

const skip = withoutNats();
const cluster = natsForFile();
const newPlace = placesOn(cluster);

describe("servers that fail while messages are appended", { skip }, () => {
  async function underLoad(
    t: TestContext,
    disturb: (leader: NatsServer, followers: NatsServer[], load: Load) => Promise<void>,
    deadline?: number,
  ): Promise<Load> {
    const url = await newPlace();
    const load = new Load(await openLog(t, url), 2000, deadline);
    const leader = await cluster().leaderOf(streamOf(url));
    load.start();
    await load.more(20);
    await disturb(
      leader,
      cluster().servers.filter((each) => each !== leader),
      load,
    );
    await cluster().ready();
    await load.more(20);
    await load.verify(await openLog(t, url));
    return load;
  }

  test("kill -9 of a follower", async (t) => {
    await underLoad(t, async (_leader, [follower], load) => {
      await follower?.kill();
      await load.more(20);
      await follower?.start();
    });
  });

  test("kill -9 of the leader", async (t) => {
    await underLoad(t, async (leader, _followers, load) => {
      await leader.kill();
      await load.more(20);
      await leader.start();
    });
  });

  test("a leader that stops, and goes on when another one leads", async (t) => {
    await underLoad(t, async (leader, _followers, load) => {
      leader.pause();
      try {
        await load.more(20);
      } finally {
        leader.resume();
      }
    });
  });

  test("a majority gone: in doubt, and found out when it is back", async (t) => {
    const disturbed = underLoad(
      t,
      async (leader, [follower], load) => {
        await Promise.all([leader.kill(), follower?.kill()]);
        await until(30_000, "a doubt", () => load.doubts > 0);
        await Promise.all([leader.start(), follower?.start()]);
      },
      1500,
    );
    assert.ok((await disturbed).doubts > 0);
  });

  test("all killed at once, and started again", async (t) => {
    await underLoad(t, async () => {
      const { servers } = cluster();
      await Promise.all(servers.map((each) => each.kill()));
      await Promise.all(servers.map((each) => each.start()));
    });
  });

  test("force and put while the leader is killed: there once, and whole", async (t) => {
    const url = await newPlace();
    const log = await openLog(t, url);
    await fill(log, 3);
    const leader = await cluster().leaderOf(streamOf(url));
    const chunks = Array.from({ length: 40 }, (_, i) => Buffer.alloc(300_000, i));
    const put = log.put(
      "image",
      (async function* () {
        yield* chunks;
      })(),
      soon(),
    );
    const forced: number[] = [];
    const forcing = (async () => {
      for (let i = 0; i < 8; i++) forced.push(await log.force(message(`f${i}`, 5000), soon()));
    })();
    await leader.kill();
    await Promise.all([put, forcing]);
    await leader.start();
    await cluster().ready();
    const reader = await openLog(t, url);
    const { last } = await reader.ends();
    const texts = (await all(reader.read(1, { to: last }))).map(textOf);
    const expected = ["m1", "m2", "m3", ...forced.map((_, i) => `f${i}`)];
    assert.deepEqual(texts, expected);
    assert.deepEqual(
      forced,
      forced.map((_, i) => i + 4),
    );
    const read: Uint8Array[] = [];
    for await (const chunk of reader.get("image")) read.push(Uint8Array.from(chunk));
    assert.equal(Buffer.compare(Buffer.concat(read), Buffer.concat(chunks)), 0);
  });
});

describe("answers that are lost", { skip, concurrency: true }, () => {
  /** A log whose answers can get lost, and another one beside it. */
  async function deafLog(t: TestContext) {
    const url = await newPlace();
    const proxy = await DeafProxy.start(t, cluster().servers[0]?.port as number);
    const through = new URL(url.replace(/@[^/]*\//, `@127.0.0.1:${proxy.port}/`)).href;
    const log = await openLog(t, through);
    await fill(log, 2);
    return { url, proxy, log, reader: await openLog(t, url) };
  }

  /** Until the reader sees the message: then it is there, and its acknowledgement is lost. */
  async function isIn(reader: NatsLog, sequence: number): Promise<void> {
    await until(
      20_000,
      "the message to be there",
      async () => (await reader.at(sequence)) !== null,
    );
  }

  test("of an append: it is sent again, and is there once", async (t) => {
    const { proxy, log, reader } = await deafLog(t);
    proxy.isDeaf = true;
    assert.equal(await log.append(message("m3"), 2, soon()), null);
    assert.equal(await log.append(message("m4"), 3, soon()), null);
    const texts = (await all(reader.read(1, { to: (await reader.ends()).last }))).map(textOf);
    assert.deepEqual(texts, ["m1", "m2", "m3", "m4"]);
  });

  test("of a force: it is there once", async (t) => {
    const { proxy, log, reader } = await deafLog(t);
    proxy.isDeaf = true;
    const forced = log.force(message("f3"), soon());
    await isIn(reader, 3);
    await fill(reader, 2);
    assert.equal(await forced, 3);
    const texts = (await all(reader.read(1, { to: (await reader.ends()).last }))).map(textOf);
    assert.deepEqual(texts, ["m1", "m2", "f3", "m4", "m5"]);
  });

  test("then the signal comes: in doubt, though it is there; asked again, it is there once", async (t) => {
    const { proxy, log, reader } = await deafLog(t);
    proxy.isDeaf = true;
    const bytes = message("m3");
    const doubtful = log.append(bytes, 2, AbortSignal.timeout(700));
    await assert.rejects(doubtful, (error: LockstepError) => error.code === codes.IN_DOUBT);
    await isIn(reader, 3);
    assert.equal(await log.append(bytes, 2, soon()), null);
    assert.deepEqual(await reader.ends(), { first: 1, last: 3 });
  });

  test("and then others are refused: not absent, since the first one is there", async (t) => {
    const { url, proxy, log, reader } = await deafLog(t);
    proxy.isDeaf = true;
    const appended = log.append(message("m3", 5000), 2, soon());
    await isIn(reader, 3);
    const { jsm } = reader.link;
    await jsm.streams.update(streamOf(url), { max_msg_size: 2000 });
    assert.equal(await appended, null);
    const refused = log.append(message("m4", 5000), 3, soon());
    await assert.rejects(refused, (error: LockstepError) => error.code === codes.REPLICA_IO);
    assert.deepEqual(await reader.ends(), { first: 1, last: 3 });
  });
});
