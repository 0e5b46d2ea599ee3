/**
 * What a commit costs when its only replica is a stream: on three NATS servers, and in an archive on the same
 * disk, beside a file replica, and beside the bare acknowledgement of the servers.
 *
 * The bare acknowledgement is that of the client alone, one message in flight, each for the place after
 * the one before: messages that a primary has made of the same transactions, byte for byte. All three servers, their
 * disk and whoever writes are on this machine. Everybody is connected to the server that leads the stream.
 */

import { join } from "node:path";
import { createArchive } from "../../src/stream/archive.ts";
import { figuresOf, latencies, ledger, open, warmUp, ways } from "../ledger.ts";
import { Client, messagesOf, Servers } from "../streams.ts";
import type { Case, Figures, Workload } from "../workload.ts";

export const workload: Workload = {
  title: "One small transaction, a stream as the only replica",
  ways: {
    nats: "Lockstep, three NATS servers",
    publish: "the servers' acknowledgement alone, same bytes",
    archive: "Lockstep, an archive on the same disk",
    lockstep: "Lockstep, a file on the same disk",
    full: ways.full,
  },
  figures: { p50: "µs", p99: "µs", max: "µs", perSecond: "1/s" },
  charts: [
    { name: "p50", title: "Commit latency with a stream, p50", figures: ["p50"] },
    { name: "p99", title: "Commit latency with a stream, p99", figures: ["p99"] },
  ],
  async trial(one) {
    const { way, directory } = one;
    if (way === "nats") return await withServers(one, (url) => commits(one, [url]));
    if (way === "publish") return await withServers(one, (url) => acknowledgements(one, url));
    if (way !== "archive") return commits(one);
    const archive = join(directory, "archive");
    await createArchive(archive);
    return commits(one, [`archive:${archive}`]);
  },
};

const count = ({ scale }: Case): number => (scale.quick ? 300 : 5000);

function commits(one: Case, addresses?: readonly string[]): Figures {
  const way = one.way === "full" ? "full" : "lockstep";
  const opened = open(way, one.directory, addresses ? { addresses } : {});
  const commit = ledger(opened);
  const first = warmUp(opened, commit);
  const figures = latencies(commit, first, { commits: count(one), seconds: 10 });
  opened.close();
  return figures;
}

/** As many come before as before the commits. */
async function acknowledgements(one: Case, url: string): Promise<Figures> {
  const messages = await messagesOf(one.directory, ledger, 500);
  const client = await Client.connect(url);
  let place = 0;
  const publish = () => client.publish(messages[place % messages.length]!, place++);
  while (place < 1250) await publish();
  const micros = new Float64Array(count(one));
  const end = performance.now() + 10_000;
  let done = 0;
  for (let before = performance.now(); done < micros.length && before < end; ) {
    await publish();
    const after = performance.now();
    micros[done++] = (after - before) * 1000;
    before = after;
  }
  await client.close();
  return figuresOf(micros.subarray(0, done));
}

async function withServers(
  { directory }: Case,
  work: (url: string) => Figures | Promise<Figures>,
): Promise<Figures> {
  const servers = await Servers.start(directory);
  const figures = await work(await servers.make("bench"));
  await servers.stop();
  return figures;
}
