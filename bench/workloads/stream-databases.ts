/**
 * How many databases three NATS servers carry: busy ones, each with a stream and a caller of its own that commits and waits, in one
 * process; and streams that nobody uses, which cost the servers memory.
 *
 * The servers, their disk and the writers share this machine, so the rate of all together ends where its processors do.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { figuresOf, ledger, open } from "../ledger.ts";
import { Servers } from "../streams.ts";
import type { Case, Figures, Workload } from "../workload.ts";

const BUSY_MOST = 16;

export const workload: Workload = {
  title: "Databases on three NATS servers",
  axis: {
    label: "databases",
    values: ({ quick }) => (quick ? [1, 2] : [1, 2, 4, 8, BUSY_MOST, 100]),
  },
  ways: { busy: "each with a caller who commits", idle: "streams that nobody uses" },
  figures: {
    perSecond: "1/s",
    p50: "µs",
    p99: "µs",
    "servers' memory": "MB",
    "servers' processors": "%",
  },
  charts: [{ name: "commits", title: "Commits of all databases together", figures: ["perSecond"] }],
  rounds: ({ rounds }) => Math.min(rounds, 2),
  applies: (way, x) => (way === "busy" ? x <= BUSY_MOST : x === 1 || x > BUSY_MOST),
  async trial(one) {
    const servers = await Servers.start(one.directory);
    const urls: string[] = [];
    for (let i = 0; i < one.x; i++) urls.push(await servers.make(`bench${i}`));
    const figures = await (one.way === "busy" ? busy(one, urls, servers) : idle(servers));
    const { memory } = servers;
    await servers.stop();
    return { ...figures, "servers' memory": memory };
  },
};

async function busy(one: Case, urls: readonly string[], servers: Servers): Promise<Figures> {
  const seconds = one.scale.quick ? 1 : 5;
  const all = urls.map((url, i) => {
    const opened = open("barrier", join(one.directory, `database-${i}`), { addresses: [url] });
    return { opened, commit: ledger(opened) };
  });
  const loops = async (milliseconds: number): Promise<number[]> => {
    const micros: number[] = [];
    const end = performance.now() + milliseconds;
    const loop = async ({ opened, commit }: (typeof all)[number]) => {
      for (let i = 0, before = performance.now(); before < end; i++) {
        commit(i);
        await opened.durable();
        const after = performance.now();
        micros.push((after - before) * 1000);
        before = after;
      }
    };
    await Promise.all(all.map(loop));
    return micros;
  };
  await loops(1000);
  const before = servers.processor;
  const micros = await loops(1000 * seconds);
  const used = (servers.processor - before) / seconds;
  for (const { opened } of all) opened.close();
  const { p50 = 0, p99 = 0 } = figuresOf(Float64Array.from(micros));
  return { perSecond: micros.length / seconds, p50, p99, "servers' processors": 100 * used };
}

async function idle(servers: Servers): Promise<Figures> {
  await sleep(5000);
  const before = servers.processor;
  await sleep(5000);
  return { "servers' processors": ((servers.processor - before) / 5) * 100 };
}
