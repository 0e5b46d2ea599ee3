/**
 * How many transactions a second, by how many callers there are at once: each commits one row
 * and waits until it is durable, again and again.
 *
 * The callers are asynchronous functions in one process, the loop is the same for all: what is
 * awaited differs. With durability `barrier`, Lockstep's statements return at once and durable()
 * resolves when all copies hold what was committed; one sync serves all who wait. With `commit`, and
 * plain, the statements block until they are durable (NORMAL: never are), and what is awaited is
 * resolved already. rqlite is one node on this machine, asked over HTTP on connections that stay
 * open, one a caller, by the leanest client in Node.js; it has one copy, Lockstep two.
 */
import {
  accountOf,
  entries,
  INSERT,
  NOTE,
  open,
  SCHEMA,
  type Way,
  warmUp,
  ways,
} from "../ledger.ts";
import { Rqlite } from "../peers.ts";
import { throughput } from "../throughput.ts";
import type { Case, Figures, Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Throughput by number of callers",
  axis: { label: "callers", values: ({ quick }) => (quick ? [1, 256] : [1, 8, 64, 256]) },
  ways: {
    barrier: "Lockstep, one replica, barrier",
    lockstep: "Lockstep, one replica, commit",
    full: ways.full,
    normal: ways.normal,
    rqlite: "rqlite, one node",
  },
  figures: { perSecond: "1/s", p50: "ms", p99: "ms" },
  charts: [
    { name: "throughput", title: "Durable transactions", figures: ["perSecond"], log: true },
  ],
  rounds: ({ rounds }) => Math.min(rounds, 3),
  trial: (one) => (one.way === "rqlite" ? overHttp(one) : inProcess(one)),
};

async function inProcess(one: Case): Promise<Figures> {
  const opened = open(one.way as Way, one.directory);
  const commit = entries(opened);
  let next = warmUp(opened, commit);
  const figures = await throughput(one, () => {
    commit(next++);
    return opened.durable();
  });
  opened.close();
  return figures;
}

async function overHttp(one: Case): Promise<Figures> {
  const rqlite = await Rqlite.start(one.directory, one.x);
  for (const sql of SCHEMA.split(";").filter((each) => each.trim() !== "")) {
    await rqlite.execute(0, [[sql]]);
  }
  let next = 0;
  const figures = await throughput(one, (caller) => {
    const i = next++;
    return rqlite.execute(caller, [[INSERT, accountOf(i), i % 100, NOTE]]);
  });
  await rqlite.stop();
  return figures;
}
