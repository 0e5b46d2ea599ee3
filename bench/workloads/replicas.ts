/**
 * What each further replica costs, on the same disk: the small transaction with 0 to 4 replicas,
 * the same to as many databases one after the other, and the floor of as many files at once. Without
 * any replica Lockstep's class is the driver's own.
 */
import { dirname } from "node:path";
import {
  copyPath,
  latencies,
  ledger,
  logBytesOf,
  open,
  type Way,
  warmUp,
  ways,
} from "../ledger.ts";
import { limit } from "../native.ts";
import type { Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Commit latency by number of replicas",
  axis: { label: "replicas", values: ({ quick }) => (quick ? [0, 2] : [0, 1, 2, 3, 4]) },
  ways: {
    lockstep: ways.lockstep,
    two: "as many databases, one after the other",
    limit: ways.limit,
  },
  figures: { p50: "µs", p99: "µs" },
  charts: [{ name: "p50", title: "Commit latency by number of replicas, p50", figures: ["p50"] }],
  rounds: ({ rounds }) => Math.min(rounds, 3),
  trial({ way, x: replicas, directory, scratch, scale }) {
    const commits = scale.quick ? 200 : 3000;
    if (way === "limit") {
      const bytes = logBytesOf(directory, ledger, 500);
      const directories = Array.from({ length: 1 + replicas }, (_, copy) =>
        dirname(copyPath(directory, copy)),
      );
      return limit(scratch, directories, bytes, commits);
    }
    const opened = open(way as Way, directory, { replicas });
    const commit = ledger(opened);
    const first = warmUp(opened, commit);
    const figures = latencies(commit, first, { commits, seconds: 10 });
    opened.close();
    return figures;
  },
};
