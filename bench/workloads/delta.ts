/**
 * What it costs to bring a replica in step that missed a change of 1 % of the pages, beside `cmp`,
 * which does no more than read both files.
 *
 * The change was made with another replica attached, so that the lineage proves that this one is
 * merely older. Lockstep's time is that of the constructor. cmp reads two files that are equal, since
 * it stops at the first difference. Both find the files in the page cache.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { Replicated } from "../built.ts";
import { makePair, milliseconds, pairPaths, speed } from "../pairs.ts";
import { CHANGE_ONE_PERCENT } from "../templates.ts";
import { type Case, databaseSizes, fewerOfTheLargest, type Workload } from "../workload.ts";

export const workload: Workload = {
  title: "A delta: 1 % of the pages differ",
  axis: { label: "MB", values: databaseSizes },
  ways: { lockstep: "Lockstep: the constructor", cmp: "cmp of two equal files" },
  figures: { time: "ms", speed: "MB/s" },
  charts: [{ name: "speed", title: "A delta of 1 %, of the database", figures: ["speed"] }],
  applies: fewerOfTheLargest,
  prepare(one) {
    const { primary } = makePair(one, stayed(one));
    if (one.way !== "lockstep") return;
    const db = new Replicated(primary, { replicas: [stayed(one)] });
    db.prepare(CHANGE_ONE_PERCENT).run(one.round % 100);
    db.close();
  },
  trial(one) {
    const { primary, replica } = pairPaths(one);
    if (one.way === "cmp") {
      return speed(
        primary,
        milliseconds(() => execFileSync("cmp", [primary, stayed(one)])),
      );
    }
    const before = performance.now();
    const db = new Replicated(primary, { replicas: [replica, stayed(one)] });
    const ms = performance.now() - before;
    db.close();
    execFileSync("cmp", [primary, replica]);
    return speed(primary, ms);
  },
};

/** The replica that does not miss anything. */
const stayed = ({ shared, x }: Case): string => join(shared, `stayed-${x}.db`);
