/**
 * What a commit costs: one small transaction (an update and an insert) with a replica on the same
 * disk, beside what one would do without Lockstep, and beside the floor (limit.c).
 *
 * Fair, because every way runs the same statements on the same tables, through the same driver, has
 * a log of 8 MiB that has once grown to its size, and checkpoints while it is measured. All but
 * NORMAL, which syncs at checkpoints only, have the commit on stable storage when it returns. The
 * limit writes as many bytes a commit as SQLite writes to its log.
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
  title: "One small transaction, one replica on the same disk",
  ways: { ...ways, lockstep: "Lockstep, one replica", "limit-one": "limit: one file" },
  figures: { p50: "µs", p99: "µs", max: "µs", perSecond: "1/s" },
  charts: [
    { name: "p50", title: "Commit latency, p50", figures: ["p50"] },
    { name: "p99", title: "Commit latency, p99", figures: ["p99"] },
  ],
  trial({ way, directory, scratch, scale }) {
    const commits = scale.quick ? 300 : 5000;
    if (way === "limit" || way === "limit-one") {
      const bytes = logBytesOf(directory, ledger, 500);
      const files = way === "limit" ? [0, 1] : [0];
      const directories = files.map((copy) => dirname(copyPath(directory, copy)));
      return limit(scratch, directories, bytes, commits);
    }
    const opened = open(way as Way, directory);
    const commit = ledger(opened);
    const first = warmUp(opened, commit);
    const figures = latencies(commit, first, { commits, seconds: 10 });
    opened.close();
    return figures;
  },
};
