/** The same failovers with a stream on three servers. */
import fs from "node:fs";
import { create } from "../../src/stream/nats-admin.ts";
import { scratch } from "../scratch.ts";
import { soon } from "../stream/messages.ts";
import { Streamed } from "../stream/streamed.ts";
import { natsForFile, withoutNats } from "../support/nats.ts";
import { failovers } from "./failovers.ts";

const cluster = natsForFile();
let places = 0;

failovers(async (t) => {
  const url = cluster().url(`standby${++places}`, { monitor: cluster().monitor });
  await create(url, {}, soon());
  return new Streamed(fs.realpathSync(scratch(t)), url);
}, withoutNats());
