/**
 * What a start costs when the copies are in step: the constructor, and the constructor with a first
 * read, beside those of a plain database. Each is the first opening of a new process, with all of its
 * code loaded; the copies were closed in order before.
 * Twice as many rounds as asked for: a trial is over at once.
 */
import Plain from "better-sqlite3";
import { Replicated } from "../built.ts";
import { makePair, pairPaths } from "../pairs.ts";
import { databaseSizes, type Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Opening copies that are in step",
  axis: { label: "MB", values: databaseSizes },
  ways: { lockstep: "Lockstep, one replica", full: "better-sqlite3" },
  figures: { constructor: "ms", "first read": "ms" },
  charts: [
    { name: "constructor", title: "Opening in step, the constructor", figures: ["constructor"] },
  ],
  rounds: ({ quick, rounds }) => (quick ? rounds : 2 * rounds),
  prepare: (one) => void makePair(one),
  trial(one) {
    const { primary, replica } = pairPaths(one);
    const before = performance.now();
    const db =
      one.way === "lockstep"
        ? new Replicated(primary, { replicas: [replica] })
        : new Plain(primary);
    const opened = performance.now() - before;
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
    const read = performance.now() - before;
    db.close();
    return { constructor: opened, "first read": read };
  },
};
