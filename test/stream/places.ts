/** Streams on a test file's servers: each test has one of its own. */
import type { TestContext } from "node:test";
import { NatsLog } from "../../src/stream/nats.ts";
import { create, type InitOptions } from "../../src/stream/nats-admin.ts";
import type { NatsCluster } from "../support/nats.ts";
import { soon } from "./messages.ts";

/** Makes streams, one after the other. @returns what makes the next; its URL */
export function placesOn(
  cluster: () => NatsCluster,
): (options?: InitOptions, name?: string) => Promise<string> {
  let places = 0;
  return async (options = {}, name = `place${++places}`) => {
    const url = cluster().url(name);
    await create(url, options, soon());
    return url;
  };
}

/** Opens one; it is closed with the test. */
export async function openLog(t: TestContext, url: string, timeout = 30_000): Promise<NatsLog> {
  const log = await NatsLog.open(url, soon(), { timeout });
  t.after(() => log.close());
  return log;
}

/** What the servers call it. */
export const streamOf = (url: string): string => `LOCKSTEP_${url.split("/").pop()}`;
