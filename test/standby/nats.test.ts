/** The same failovers and restores with a stream on three servers. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { openStandby } from "../../src/index.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { create } from "../../src/stream/nats-admin.ts";
import { scratch } from "../scratch.ts";
import { soon } from "../stream/messages.ts";
import { materialize, Streamed } from "../stream/streamed.ts";
import { natsForFile, withoutNats } from "../support/nats.ts";
import { equal, failovers } from "./failovers.ts";
import { moments } from "./moments.ts";
import { worldOf } from "./world.ts";

const cluster = natsForFile();
let places = 0;

async function place(): Promise<string> {
  const url = cluster().url(`standby${++places}`, { monitor: cluster().monitor });
  await create(url, {}, soon());
  return url;
}

failovers(async (t) => new Streamed(fs.realpathSync(scratch(t)), await place()), withoutNats());

moments("on three servers", withoutNats(), async (t) => {
  const log = await NatsLog.open(await place(), soon());
  t.after(() => log.close());
  return worldOf(t, scratch(t), log, { maxFrames: 7 });
});

test("an open standby waits for servers that are away, and goes on", {
  skip: withoutNats(),
}, async (t) => {
  const made = new Streamed(fs.realpathSync(scratch(t)), await place());
  const db = made.open();
  made.put(db, 3);
  const standby = await openStandby(made.address, path.join(made.root, "standby.db"));
  await cluster().stop();
  for (const server of cluster().servers) await server.start();
  await cluster().ready();
  made.put(db, 3);
  db.close();
  await standby.reach(await materialize(made.address, path.join(made.root, "made.db")));
  assert.equal(standby.failure, null);
  standby.close();
  await standby.stopped;
  await equal(made.primary, path.join(made.root, "standby.db"));
});
