/**
 * How many transactions a second three NATS servers take: of 256 callers who each commit and wait until it is durable, and
 * of the client alone, which publishes the same bytes as messages of their own, 64 in flight.
 *
 * A transaction writes three pages, 12 KB of log. With durability `barrier` all that waits goes into the
 * next message, up to 512 KB, and from 16 KB on it is compressed; the client's messages are those that a primary makes of one
 * transaction each. They expect no place: in flight together they could not know it.
 */
import { open, warmUp } from "../ledger.ts";
import { Client, messagesOf, payloadsOf, Servers, threePages } from "../streams.ts";
import { throughput } from "../throughput.ts";
import type { Case, Figures, Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Transactions of 12 KB, many at once, three NATS servers",
  ways: {
    nats: "Lockstep, barrier, 256 callers",
    publish: "the client alone, 64 messages in flight",
  },
  figures: {
    perSecond: "1/s",
    log: "MB/s",
    p50: "ms",
    p99: "ms",
    "a message": "KB",
    "a message's log": "KB",
  },
  charts: [{ name: "throughput", title: "Durable transactions of 12 KB", figures: ["perSecond"] }],
  async trial(one) {
    const servers = await Servers.start(one.directory);
    const url = await servers.make("bench");
    const figures = await (one.way === "nats" ? callers(one, url) : client(one, url));
    await servers.stop();
    return figures;
  },
};

const LOG_BYTES = 3 * 4120;

async function callers({ directory, scale }: Case, url: string): Promise<Figures> {
  const opened = open("barrier", directory, { addresses: [url] });
  const commit = threePages(opened);
  let next = warmUp(opened, commit);
  await opened.durable();
  const figures = await throughput({ x: 256, scale }, () => {
    commit(next++);
    return opened.durable();
  });
  opened.close();
  const { plain, sent, messages } = await payloadsOf(url);
  return {
    ...withBytes(figures),
    ...{ "a message": sent / messages / 1000, "a message's log": plain / messages / 1000 },
  };
}

async function client({ directory, scale }: Case, url: string): Promise<Figures> {
  const messages = await messagesOf(directory, threePages, 500);
  const client = await Client.connect(url);
  let next = 0;
  const publish = () => client.publish(messages[next++ % messages.length]!);
  const figures = await throughput({ x: 64, scale }, publish);
  await client.close();
  const size = messages.reduce((sum, { length }) => sum + length, 0) / messages.length / 1000;
  return { ...withBytes(figures), "a message": size, "a message's log": LOG_BYTES / 1000 };
}

function withBytes(figures: Figures): Figures {
  return { ...figures, log: (figures["perSecond"]! * LOG_BYTES) / 1e6 };
}
