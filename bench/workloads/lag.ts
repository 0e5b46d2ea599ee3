/**
 * How far the copy is behind: the time from a commit's return until the copy holds the commit, which
 * is what a burning disk takes with it. Lockstep's replica is read as a database; Litestream's, with
 * its own defaults and a directory as replica, holds a commit when it has written a segment of the log
 * since. The commits come one by one, at moments that are not Litestream's. A lag ends when the look
 * that finds the commit begins: where the first look finds it, that is at once.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Plain from "better-sqlite3";
import { percentile } from "../figures.ts";
import { copyPath, ledger, open, ways } from "../ledger.ts";
import { binaryOf, Program } from "../peers.ts";
import type { Case, Figures, Workload } from "../workload.ts";

export const workload: Workload = {
  title: "How far the copy is behind a commit that has returned",
  ways: {
    lockstep: "Lockstep, one replica",
    litestream: `Litestream, beside ${ways.full}`,
  },
  figures: { p50: "ms", max: "ms" },
  charts: [
    { name: "p50", title: "Lag of the copy, p50", figures: ["p50"] },
    { name: "max", title: "Lag of the copy, the longest", figures: ["max"] },
  ],
  rounds: ({ rounds }) => Math.min(rounds, 2),
  trial: (one) => (one.way === "lockstep" ? lockstep(one) : litestream(one)),
};

async function lockstep({ directory, scale }: Case): Promise<Figures> {
  const opened = open("lockstep", directory);
  const commit = ledger(opened);
  const replica = new Plain(copyPath(directory, 1), { readonly: true });
  const entries = replica.prepare("SELECT count(*) FROM entry").pluck();
  const figures = await lags(scale.quick ? 3 : 15, commit, (i) => entries.get() === i + 1);
  replica.close();
  opened.close();
  return figures;
}

async function litestream({ directory, scale }: Case): Promise<Figures> {
  const path = await binaryOf("litestream");
  const opened = open("full", directory, { logBytes: 2 ** 40 });
  const commit = ledger(opened);
  const replica = join(dirname(copyPath(directory, 1)), "litestream");
  mkdirSync(replica);
  const program = new Program(path, ["replicate", opened.path, `file://${replica}`]);
  const segments = () =>
    readdirSync(replica, { recursive: true, encoding: "utf8" }).filter((file) =>
      file.endsWith(".wal.lz4"),
    ).length;
  await program.until("replicating", () => segments() > 0);
  let seen = await settled(segments);
  const figures = await lags(scale.quick ? 2 : 15, commit, () => {
    const now = segments();
    const more = now > seen;
    seen = now;
    return more;
  });
  await program.stop();
  opened.close();
  return figures;
}

/** How many there are when for a while there were no more: it looks once a second. */
async function settled(count: () => number): Promise<number> {
  for (let before = count(); ; ) {
    await sleep(2500);
    const now = count();
    if (now === before) return now;
    before = now;
  }
}

async function lags(
  commits: number,
  commit: (i: number) => void,
  has: (i: number) => boolean,
): Promise<Figures> {
  const lags: number[] = [];
  for (let i = 0; i < commits; i++) {
    await sleep(Math.random() * 1000);
    commit(i);
    const returned = performance.now();
    let look = returned;
    while (!has(i)) {
      if (look - returned > 30_000) throw new Error("The copy has not got the commit in 30 s");
      await sleep(1);
      look = performance.now();
    }
    lags.push(look - returned);
  }
  lags.sort((a, b) => a - b);
  return { p50: percentile(lags, 50), max: lags.at(-1)! };
}
