/**
 * Goal: whatever happens to the servers of a stream, nothing that was acknowledged is lost, and nothing is
 * there twice.
 * Method: three real servers, which sync before they acknowledge; one writer appends all the time, another
 * one tries to append in the same places and must never get one; a reader follows. Every few seconds a random
 * fault: a server is killed, or stopped for a while, or a majority, or all. At the end the log is read
 * and compared with what was acknowledged, and with what the reader saw.
 *
 *   node test/stream/chaos.ts [--minutes 2] [--seed N] [--bytes 4000]
 *
 * Prints one line of JSON: acknowledged, refused (of the other writer), faults, doubts, the longest append.
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { StreamLog } from "../../src/stream/log.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { check, create } from "../../src/stream/nats-admin.ts";
import { type NatsCluster, startNats, withoutNats } from "../support/nats.ts";
import { Load } from "./load.ts";
import { message, soon } from "./messages.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: `${Math.floor(Math.random() * 2 ** 31)}` },
    bytes: { type: "string", default: "4000" },
  },
});
const seed = Number(values.seed);
const until = performance.now() + Number(values.minutes) * 60_000;

const why = withoutNats();
if (why !== false) throw new Error(why);
const ends: (() => unknown)[] = [];
try {
  console.log(JSON.stringify({ seed, ...(await run()) }));
} finally {
  for (const end of ends.reverse()) await end();
}

async function run(): Promise<object> {
  const cluster = await startNats({ after: (end) => void ends.push(end as () => unknown) });
  const url = cluster.url("chaos", { monitor: cluster.monitor });
  await create(url, {}, soon());
  await check(url, [], soon());
  const [log, rival, follower] = [await open(url), await open(url), await open(url)];

  const load = new Load(log, Number(values.bytes));
  load.start();
  const over = new AbortController();
  const refused = rivalry(rival, over.signal);
  const followed = follow(follower, over.signal);
  const faults: Record<string, number> = {};
  for (const random = mulberry(seed); performance.now() < until; ) {
    await delay(500 + random() * 4000);
    const name = await disturb(cluster, random);
    faults[name] = (faults[name] ?? 0) + 1;
  }
  await cluster.ready();
  await load.more(100);
  await load.verify(await open(url));
  const count = load.acknowledged.size;
  for (const end = performance.now() + 60_000; followed.seen.length < count; await delay(50)) {
    assert.ok(performance.now() < end, `the reader saw ${followed.seen.length} of ${count}`);
  }
  over.abort();
  await followed.ended;
  followed.seen.forEach((bytes, i) => {
    assert.equal(Buffer.compare(bytes, load.acknowledged.get(i + 1) as Uint8Array), 0);
  });
  const { slowest, doubts } = load;
  return {
    ...{ acknowledged: count, lost: 0, twice: 0, refused: await refused, faults, doubts },
    longestAppend: `${Math.round(slowest)} ms`,
  };
}

async function open(url: string): Promise<NatsLog> {
  const log = await NatsLog.open(url, soon());
  ends.push(() => log.close());
  return log;
}

/** Wants every place that was taken a moment ago; to get one would be a failure. */
async function rivalry(log: StreamLog, signal: AbortSignal): Promise<number> {
  let refused = 0;
  while (!signal.aborted) {
    await delay(20);
    try {
      const { last } = await log.ends();
      if (last < 1) continue;
      const there = await log.append(message("rival"), last - 1, AbortSignal.timeout(5000));
      assert.notEqual(there, null, `place ${last} was taken, and given away again`);
      refused++;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
    }
  }
  return refused;
}

function follow(log: StreamLog, signal: AbortSignal): { seen: Uint8Array[]; ended: Promise<void> } {
  const seen: Uint8Array[] = [];
  const ended = (async () => {
    for await (const { sequence, bytes } of log.read(1, { live: signal })) {
      assert.equal(sequence, seen.length + 1);
      seen.push(Uint8Array.from(bytes));
    }
  })();
  return { seen, ended };
}

/** @returns what it did */
async function disturb(cluster: NatsCluster, random: () => number): Promise<string> {
  const { servers } = cluster;
  const shuffled = servers.map((server) => ({ server, by: random() }));
  const some = shuffled.sort((a, b) => a.by - b.by).map(({ server }) => server);
  const [kind, count] = [random(), random() < 0.6 ? 1 : random() < 0.5 ? 2 : 3];
  const hit = some.slice(0, count);
  const pause = 200 + random() * 8000;
  if (kind < 0.6) {
    await Promise.all(hit.map((server) => server.kill()));
    await delay(pause / 4);
    await Promise.all(hit.map((server) => server.start()));
    await cluster.ready();
    return `kill ${count}`;
  }
  for (const server of hit) server.pause();
  await delay(pause);
  for (const server of hit) server.resume();
  await cluster.ready();
  return `stop ${count}`;
}

/** Random numbers from 0 to 1 that a seed repeats. */
function mulberry(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
