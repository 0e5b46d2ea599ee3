/**
 * What a stream keeps: its size on three NATS servers with `keep=1m` and an image each 8 MB of log, while small transactions are
 * committed one after the other for longer than that; beside what rate and time alone would make. A minute
 * stands for the days of an application: what is kept is in proportion.
 */

import { openStream } from "../../src/stream/open.ts";
import { ledger, open, warmUp } from "../ledger.ts";
import { Servers } from "../streams.ts";
import type { Workload } from "../workload.ts";

const SECONDS = 100;

export const workload: Workload = {
  title: "What a stream keeps, keep=1m",
  ways: { nats: "small transactions, one after the other" },
  figures: {
    perSecond: "1/s",
    "sent in a minute": "MB",
    "sent in all": "MB",
    "messages kept": "MB",
    images: "1",
    "images kept": "MB",
    "on each disk": "MB",
    database: "MB",
  },
  charts: [
    {
      name: "kept",
      title: "What a stream keeps",
      figures: ["sent in a minute", "sent in all", "messages kept", "images kept", "on each disk"],
    },
  ],
  rounds: () => 1,
  async trial({ directory, scale }) {
    const servers = await Servers.start(directory);
    const url = await servers.make("bench", { keep: "1m", imageBytes: `${8e6}` });
    const opened = open("lockstep", directory, { addresses: [url] });
    const commit = ledger(opened);
    const first = warmUp(opened, commit);
    const seconds = scale.quick ? 5 : SECONDS;
    const began = performance.now();
    let i = first;
    while (performance.now() - began < 1000 * seconds) {
      // Now and then the loop of events has its turn: what makes images waits for it.
      for (let n = 0; n < 100; n++) commit(i++);
      await new Promise(setImmediate);
    }
    const took = (performance.now() - began) / 1000;
    const database = opened.databases[0]!.prepare(
      "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    )
      .pluck()
      .get() as number;
    opened.close();
    const { log } = await openStream(url);
    const images = (await log.objects()).length;
    await log.close();
    const [messages, objects] = await Promise.all(
      ["LOCKSTEP_bench", "OBJ_LOCKSTEP_bench"].map((name) => stateOf(servers, name)),
    );
    const { kept } = servers;
    await servers.stop();
    const sizeOfOne = messages!.bytes / messages!.messages;
    const perSecond = (i - first) / took;
    return {
      perSecond,
      "sent in a minute": (60 * perSecond * sizeOfOne) / 1e6,
      "sent in all": (messages!.last * sizeOfOne) / 1e6,
      "messages kept": messages!.bytes / 1e6,
      images,
      "images kept": objects!.bytes / 1e6,
      "on each disk": kept / 1e6,
      database: database / 1e6,
    };
  },
};

interface State {
  readonly messages: number;
  readonly bytes: number;
  readonly last: number;
}

async function stateOf(servers: Servers, name: string): Promise<State> {
  const leader = await servers.cluster.leaderOf(name);
  const all = await leader.ask("jsz?accounts=1&streams=1");
  for (const account of all.account_details) {
    for (const { name: each, state } of account.stream_detail ?? []) {
      if (each === name)
        return { messages: state.messages, bytes: state.bytes, last: state.last_seq };
    }
  }
  throw new Error(`${leader.name} does not know ${name}`);
}
