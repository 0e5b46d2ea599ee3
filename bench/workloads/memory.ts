/**
 * The memory of the process (resident set) after a load of small transactions, its garbage collected,
 * the database still open: with one replica, and plain.
 */
import { latencies, ledger, open, warmUp, ways } from "../ledger.ts";
import type { Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Memory of the process after load",
  ways: { lockstep: "Lockstep, one replica", full: ways.full },
  figures: { rss: "MB" },
  charts: [{ name: "rss", title: "Resident memory after load", figures: ["rss"] }],
  flags: ["--expose-gc"],
  trial({ way, directory, scale }) {
    const opened = open(way as "lockstep" | "full", directory);
    const commit = ledger(opened);
    const first = warmUp(opened, commit);
    latencies(commit, first, { commits: scale.quick ? 1000 : 10_000 });
    if (globalThis.gc === undefined) throw new Error("Node.js was started without --expose-gc");
    globalThis.gc();
    const rss = process.memoryUsage.rss() / 1e6;
    opened.close();
    return { rss };
  },
};
