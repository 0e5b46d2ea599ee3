/**
 * What the workloads of streams need: three NATS servers on this machine that sync before they acknowledge,
 * with their stores on the disk that is measured; the bytes that a primary sends; and the client alone.
 */
import fs from "node:fs";
import path from "node:path";
import { type JetStreamClient, jetstream } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { createArchive } from "../src/stream/archive.ts";
import { create } from "../src/stream/nats-admin.ts";
import { openStream } from "../src/stream/open.ts";
import { decodeSegment, kinds } from "../src/stream/segment.ts";
import { type NatsCluster, PASSWORD, startNats, USER, withoutNats } from "../test/support/nats.ts";
import {
  accountOf,
  FILL,
  INSERT,
  NOTE,
  type Opened,
  open,
  SCHEMA,
  transaction,
  UPDATE,
} from "./ledger.ts";
import { Unavailable } from "./workload.ts";

export class Servers {
  readonly cluster: NatsCluster;
  readonly #ends: (() => unknown)[];

  private constructor(cluster: NatsCluster, ends: (() => unknown)[]) {
    this.cluster = cluster;
    this.#ends = ends;
  }

  /** @throws Unavailable if there is no nats-server to be had, with the reason */
  static async start(directory: string): Promise<Servers> {
    const why = withoutNats();
    if (why !== false) throw new Unavailable(why);
    const ends: (() => unknown)[] = [];
    const t = { after: (end: unknown) => void ends.push(end as () => unknown) };
    return new Servers(await startNats(t, { directory }), ends);
  }

  /**
   * Makes a stream. @returns the URL of its leader, so that nobody's way to it is longer than another's
   */
  async make(name: string, settings: Record<string, string> = {}): Promise<string> {
    const { cluster } = this;
    const url = cluster.url(name, { monitor: cluster.monitor, ...settings });
    await create(url, {}, AbortSignal.timeout(60_000));
    const { port } = await cluster.leaderOf(`LOCKSTEP_${name}`);
    return url.replace(/@[^/]*\//, `@127.0.0.1:${port}/`);
  }

  /** Resident memory of all three, in MB. */
  get memory(): number {
    const kilobytes = this.cluster.servers.map(({ pid }) =>
      Number(/VmRSS:\s*(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]),
    );
    return kilobytes.reduce((sum, one) => sum + one, 0) / 1000;
  }

  /** Processor time of all three, in seconds. */
  get processor(): number {
    const ticks = this.cluster.servers.map(({ pid }) => {
      const fields = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      return Number(fields[11]) + Number(fields[12]);
    });
    return ticks.reduce((sum, one) => sum + one, 0) / 100;
  }

  /** What each has written to its disk so far, in bytes, on average. */
  get written(): number {
    const bytes = this.cluster.servers.map(({ pid }) =>
      Number(/^write_bytes: (\d+)/m.exec(fs.readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]),
    );
    return bytes.reduce((sum, one) => sum + one, 0) / bytes.length;
  }

  /** What each keeps on its disk, in bytes, on average. */
  get kept(): number {
    const sizes = this.cluster.servers.map(({ directory }) =>
      sizeOf(path.join(directory, "store")),
    );
    return sizes.reduce((sum, one) => sum + one, 0) / sizes.length;
  }

  async stop(): Promise<void> {
    for (const end of this.#ends) await end();
  }
}

/** Also of files that come and go meanwhile. */
function sizeOf(directory: string): number {
  let bytes = 0;
  for (const each of fs.readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!each.isFile()) continue;
    bytes +=
      fs.statSync(path.join(each.parentPath, each.name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}

/** The client alone, at the server that leads the stream. */
export class Client {
  readonly nc: NatsConnection;
  readonly #js: JetStreamClient;
  readonly #name: string;

  private constructor(nc: NatsConnection, name: string) {
    this.nc = nc;
    this.#js = jetstream(nc);
    this.#name = name;
  }

  /** @param url as `Servers.make` gives it */
  static async connect(url: string): Promise<Client> {
    const { host, pathname } = new URL(url.replace(/^nats:/, "http:"));
    const options = { servers: host, user: USER, pass: PASSWORD, noAsyncTraces: true };
    return new Client(await connect(options), pathname.slice(1));
  }

  /** Resolves when the servers have acknowledged it. @param after the place before the one that it is for */
  async publish(bytes: Uint8Array, after?: number): Promise<void> {
    const streamName = `LOCKSTEP_${this.#name}`;
    const expect = after === undefined ? { streamName } : { streamName, lastSequence: after };
    await this.#js.publish(`lockstep.${this.#name}`, bytes, { expect });
  }

  async close(): Promise<void> {
    await this.nc.close();
  }
}

/** The messages that a primary sends for so many transactions, one a message, byte for byte. */
export async function messagesOf(
  directory: string,
  prepare: (opened: Opened) => (i: number) => void,
  transactions: number,
): Promise<Uint8Array[]> {
  const archive = path.join(directory, "messages");
  await createArchive(archive);
  const opened = open("lockstep", directory, { addresses: [`archive:${archive}`] });
  const commit = prepare(opened);
  for (let i = 0; i < transactions; i++) commit(i);
  opened.close();
  const { log } = await openStream(`archive:${archive}`);
  const { first, last } = await log.ends();
  const messages: Uint8Array[] = [];
  for await (const { bytes } of log.read(first, { to: last })) {
    const { kind, ends } = decodeSegment(bytes, log.name).header;
    if (kind === kinds.FRAMES && ends) messages.push(bytes);
  }
  await log.close();
  fs.rmSync(archive, { recursive: true });
  fs.rmSync(path.dirname(opened.path), { recursive: true });
  return messages.slice(-transactions);
}

/** How a stream's payloads came to be what they are, in bytes. */
export async function payloadsOf(
  url: string,
): Promise<{ plain: number; sent: number; messages: number }> {
  const { log } = await openStream(url);
  const { first, last } = await log.ends();
  let [plain, sent, messages] = [0, 0, 0];
  for await (const { bytes } of log.read(first, { to: last })) {
    const { header, wrapped } = decodeSegment(bytes, log.name);
    if (header.kind !== kinds.FRAMES) continue;
    plain += wrapped.plainBytes;
    sent += bytes.length;
    messages++;
  }
  await log.close();
  return { plain, sent, messages };
}

/** Makes the tables; returns what commits a transaction of three pages: two updates far apart, and an insert. */
export function threePages(opened: Opened): (i: number) => void {
  for (const db of opened.databases) {
    db.exec(SCHEMA);
    db.exec(FILL);
  }
  return transaction(opened, [
    { sql: UPDATE, values: (i) => [i % 100, accountOf(i)] },
    { sql: UPDATE, values: (i) => [-(i % 100), (accountOf(i) + 5000) % 10_000] },
    { sql: INSERT, values: (i) => [accountOf(i), i % 100, NOTE] },
  ]);
}
