/**
 * `npm run test:replicate -- --minutes 10 --seed S`: Python programs write, with SQLite's own automatic checkpoint.
 *
 *   a quarter of the time   without us, and a quarter while `lockstep replicate` follows, in turns: how long
 *                           their commits take, and how often they are told that the database is locked
 *   the other half          the follower is killed at random moments, and begins again
 *
 * After each the copies are equal, byte for byte, and hold each row that was committed. The seed repeats what is
 * written and when it is killed, not how the processes interleave.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Random } from "../crash/random.ts";
import type { Ending } from "../scratch.ts";
import { assertAtRest } from "../support/files.ts";
import {
  assertAllThere,
  missing,
  type Replicate,
  type Said,
  World,
  type Written,
} from "./world.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    writers: { type: "string", default: "3" },
    /** About how long a writer waits between two transactions, in milliseconds. */
    pause: { type: "string", default: "5" },
  },
});
const [minutes, seed, count, pauseMs] = [
  values.minutes,
  values.seed,
  values.writers,
  values.pause,
].map(Number) as [number, number, number, number];
const reason = missing();
if (reason) throw new Error(reason);
const random = new Random(seed);
const names = Array.from({ length: count }, (_, i) => `w${i}`);
/** Turns of each kind, and how long one takes, in seconds. */
const TURNS = 3;
const turnSeconds = (minutes * 60) / 4 / TURNS;

console.log(`${minutes} minutes, ${count} writers, from seed ${seed}`);
const calm: Written[] = [];
const followed: Written[] = [];
for (let turn = 0; turn < TURNS; turn++) {
  calm.push(...(await scene(turnSeconds, async () => null)));
  followed.push(...(await scene(turnSeconds, begin)));
}
const without = figures("without us", calm);
const during = figures("followed", followed);
console.log(`p99 ${(during.p99 / without.p99).toFixed(2)} times that without us`);
const begun = { quickly: 0, whole: 0, killedBefore: 0, longestMs: 0 };
figures("killed and begun again", await scene((minutes * 60) / 2, kills));
console.log(begun);
const locked = [...followed, ...calm].reduce((sum, each) => sum + each.locked, 0);
console.log(`nothing was lost, the copies are equal; "database is locked": ${locked}`);

async function begin(world: World): Promise<Replicate> {
  const follower = world.follow();
  await follower.inStep();
  return follower;
}

/** Kills followers until the writers have ended; the last one lives. */
async function kills(world: World, isOver: () => boolean): Promise<Replicate> {
  const first = await begin(world); // makes the replica
  await delay(random.below(1000));
  await first.kill();
  for (;;) {
    const at = performance.now();
    const follower = world.follow("--checkpoint-bytes", String(1 << random.between(18, 23)));
    if (isOver()) {
      counted(await follower.inStep());
      return follower;
    }
    if (random.oneIn(6)) {
      await delay(random.below(500));
      begun.killedBefore++;
    } else {
      counted(await follower.inStep());
      begun.longestMs = Math.max(begun.longestMs, Math.round(performance.now() - at));
      await delay(random.below(3000));
    }
    await follower.kill();
  }
}

/** Did it read any file whole? */
function counted({ work }: Said): void {
  if (work.length === 0) begun.quickly++;
  else {
    begun.whole++;
    console.log(
      `begun again after ${begun.quickly + begun.whole + begun.killedBefore} others:`,
      work,
    );
  }
}

/** A database, writers for so many seconds, and what follows them; checked in the end. */
async function scene(
  seconds: number,
  use: (world: World, isOver: () => boolean) => Promise<Replicate | null>,
): Promise<Written[]> {
  const endings: (() => unknown)[] = [];
  const t = { after: (ending: () => unknown) => void endings.push(ending) } as unknown as Ending;
  const world = new World(t);
  let isOver = false;
  try {
    const writers = names.map((name) =>
      world.writer(name, { seed: random.below(2 ** 31), seconds, pauseMs, stays: true }),
    );
    for (const writer of writers) await writer.ready();
    const all = Promise.all(writers.map((writer) => writer.written()));
    void all.then(() => (isOver = true));
    const follower = await use(world, () => isOver);
    const written = await all;
    for (const writer of writers) await writer.end();
    await follower?.stop();
    const rows = Object.fromEntries(names.map((name, i) => [name, (written[i] as Written).last]));
    if (follower) assertAtRest(world.primary, [world.replica]);
    assertAllThere(follower ? world.replica : world.primary, rows);
    return written;
  } catch (error) {
    const kept = path.join(os.tmpdir(), `lockstep-replicate-${seed}`);
    fs.cpSync(world.root, kept, { recursive: true });
    console.error(`FAILED, see ${kept}`);
    throw error;
  } finally {
    for (const ending of endings.reverse()) await ending();
  }
}

function figures(what: string, all: readonly Written[]): { p99: number } {
  const took = all.flatMap((each) => each.took).sort((a, b) => a - b);
  const at = (share: number): number => took[Math.floor(share * (took.length - 1))] as number;
  const [p50, p99, p999, most] = [0.5, 0.99, 0.999, 1].map(at) as [number, number, number, number];
  const isLocked = all.reduce((sum, { locked: times }) => sum + times, 0);
  console.log(what, { commits: took.length, p50, p99, p999, most, locked: isLocked }, "in µs");
  return { p99 };
}
