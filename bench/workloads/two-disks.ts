/**
 * What a commit costs when the replica is on a disk of its own, as it should be: two disks on which
 * a sync takes 2 ms each, and which do not wait for each other. They are made by delay.c, a library
 * that waits in place of the real sync: on the one disk of this machine, two real syncs would wait
 * for each other. Every way runs with it, the limit too.
 */
import { realpathSync } from "node:fs";
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
import { delayLibrary, limit } from "../native.ts";
import type { Workload } from "../workload.ts";

const SYNC_MICROS = 2000;

export const workload: Workload = {
  title: "One small transaction, two independent disks of 2 ms a sync",
  ways: {
    lockstep: "Lockstep, one replica",
    two: ways.two,
    full: `${ways.full}, one disk`,
    limit: ways.limit,
  },
  figures: { p50: "µs", p99: "µs", perSecond: "1/s" },
  charts: [{ name: "p50", title: "Commit latency on two disks, p50", figures: ["p50"] }],
  environment({ directory, scratch }) {
    const disks = [0, 1].map((copy) => dirname(copyPath(realpathSync(directory), copy)));
    return {
      LD_PRELOAD: delayLibrary(scratch),
      DELAY_SYNC: disks.map((disk) => `${disk}=${SYNC_MICROS}`).join(","),
    };
  },
  trial({ way, directory, scratch, scale }) {
    const commits = scale.quick ? 100 : 500;
    if (way === "limit") {
      const bytes = logBytesOf(directory, ledger, 500);
      const directories = [0, 1].map((copy) => dirname(copyPath(directory, copy)));
      return limit(scratch, directories, bytes, commits);
    }
    // A smaller log, for the time: to grow it once takes two syncs for every transaction.
    const opened = open(way as Way, directory, { logBytes: 2 ** 21 });
    const commit = ledger(opened);
    const first = warmUp(opened, commit);
    const figures = latencies(commit, first, { commits });
    opened.close();
    return figures;
  },
};
