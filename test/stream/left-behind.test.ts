/** What a writer that died has left half written is removed where a stream is shortened: after a day, and nothing else. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { follow } from "../../src/standby/follow.ts";
import type { StreamLog } from "../../src/stream/log.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { create } from "../../src/stream/nats-admin.ts";
import { bucketName, bucketStream } from "../../src/stream/nats-layout.ts";
import { shorten } from "../../src/stream/retention.ts";
import { scratch } from "../scratch.ts";
import { assertEqual, insert, type World, world, worldOf } from "../standby/world.ts";
import { natsForFile, withoutNats } from "../support/nats.ts";
import { soon } from "./messages.ts";

const DYING = fileURLToPath(new URL("./dying-put.ts", import.meta.url));
const HOURS = 3_600_000;
const cluster = natsForFile();

interface Place {
  readonly world: World<StreamLog>;
  readonly address: string;
  /** How many objects lie there, whole or not. */
  readonly count: () => Promise<number>;
}

async function inAnArchive(t: TestContext): Promise<Place> {
  const made = await world(t);
  const filesIn = (name: string): number => fs.readdirSync(path.join(made.archive, name)).length;
  const count = async (): Promise<number> => filesIn("snapshots") + filesIn("new");
  return { world: made, address: made.log.name, count };
}

async function onServers(t: TestContext): Promise<Place> {
  const address = cluster().url("left");
  await create(address, {}, soon());
  const log = await NatsLog.open(address, soon());
  t.after(() => log.close());
  const count = async (): Promise<number> => {
    const pieces = { subjects_filter: `$O.${bucketName("left")}.C.>` };
    const { state } = await log.link.jsm.streams.info(bucketStream("left"), pieces);
    return Object.keys(state.subjects ?? {}).length;
  };
  return { world: await worldOf(t, scratch(t), log), address, count };
}

for (const [where, make, skip] of [
  ["in an archive", inAnArchive, false],
  ["on three servers", onServers, withoutNats()],
] as const) {
  test(`what a writer that died left ${where}`, { skip }, async (t) => {
    const { world: w, address, count } = await make(t);
    const { log, writer } = w;
    for (let i = 0; i < 3; i++) {
      await writer.run(insert(5));
      await writer.snapshot();
      writer.checkpoint();
    }
    const there = await log.objects();
    assert.equal(await count(), there.length);
    const child = spawn(process.execPath, [DYING, address], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "exit");
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    await ended;
    assert.equal(await count(), there.length + 1);
    assert.deepEqual(await log.objects(), there, "nobody sees it");

    await shorten(log, null, 1000 * HOURS, { signal: soon(), now: Date.now() + 23 * HOURS });
    assert.equal(await count(), there.length + 1, "somebody may be writing it");
    await shorten(log, null, 1000 * HOURS, { signal: soon(), now: Date.now() + 25 * HOURS });
    assert.equal(await count(), there.length);
    assert.deepEqual(await log.objects(), there, "what is whole stays");
    for (const name of there) for await (const _ of log.get(name));
    await follow(log, w.dest, { once: true });
    await assertEqual(w);
  });
}
