/**
 * The slowest commits: 200,000 small transactions, over many checkpoints, each way with the log and
 * the checkpoints that it has by itself (1000 pages in SQLite; 8 MiB in Lockstep), and plain SQLite
 * with Lockstep's size of log besides; and the files alone, which have no checkpoints, for what the
 * disk does. One round: a trial has as many commits as it takes.
 */
import { dirname } from "node:path";
import { copyPath, latencies, ledger, logBytesOf, open, warmUp, ways } from "../ledger.ts";
import { limit } from "../native.ts";
import type { Workload } from "../workload.ts";

const percents = { p50: 50, p90: 90, p99: 99, "p99.9": 99.9, "p99.99": 99.99, max: 100 };

export const workload: Workload = {
  title: "The slowest commits, checkpoints included",
  ways: {
    lockstep: "Lockstep, one replica",
    full: ways.full,
    "full-8": `${ways.full}, log of 8 MiB`,
    two: ways.two,
    limit: ways.limit,
    "limit-one": "limit: one file",
  },
  figures: Object.fromEntries(Object.keys(percents).map((name) => [name, "µs"])),
  charts: [
    { name: "percentiles", title: "Commit latency", figures: Object.keys(percents), log: true },
  ],
  rounds: () => 1,
  trial({ way, directory, scratch, scale }) {
    if (way === "limit" || way === "limit-one") {
      const files = way === "limit" ? [0, 1] : [0];
      const directories = files.map((copy) => dirname(copyPath(directory, copy)));
      const bytes = logBytesOf(directory, ledger, 500);
      const { perSecond, ...figures } = limit(scratch, directories, bytes, scale.commits);
      return figures;
    }
    const opened =
      way === "full-8"
        ? open("full", directory)
        : open(way as "lockstep" | "full" | "two", directory, { logBytes: "own" });
    const commit = ledger(opened);
    const first = warmUp(opened, commit);
    const { perSecond, ...figures } = latencies(commit, first, scale, percents);
    opened.close();
    return figures;
  },
};
