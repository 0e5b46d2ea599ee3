/**
 * What it costs to make a replica the database again, beside `cp` and `sync` of the same file, which
 * prove nothing: restore also compares the copy with the replica page by page and runs
 * integrity_check before it puts it in its place.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { restore } from "../built.ts";
import { makePair, milliseconds, pairPaths, speed } from "../pairs.ts";
import { databaseSizes, fewerOfTheLargest, type Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Restore",
  axis: { label: "MB", values: databaseSizes },
  ways: { lockstep: "Lockstep: restore", cp: "cp + sync" },
  figures: { time: "ms", speed: "MB/s" },
  charts: [{ name: "speed", title: "Restore", figures: ["speed"] }],
  applies: fewerOfTheLargest,
  rounds: ({ rounds }) => Math.min(rounds, 3),
  prepare: (one) => void makePair(one),
  async trial(one) {
    const { replica } = pairPaths(one);
    const dest = join(one.directory, "restored.db");
    if (one.way === "cp") {
      const script = 'cp "$1" "$2" && sync "$2"';
      return speed(
        replica,
        milliseconds(() => execFileSync("sh", ["-c", script, "sh", replica, dest])),
      );
    }
    const before = performance.now();
    await restore(replica, dest);
    return speed(replica, performance.now() - before);
  },
};
