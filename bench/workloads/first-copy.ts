/**
 * What the first copy costs, beside `cp` and `sync` of the same file. Lockstep's time is that of the
 * constructor, which returns when the replica is whole and on stable storage, with its record.
 *
 * Fair, because both read a file that is in the page cache and write a new one on the same disk.
 * Each of the two starts a process: cp the shell, Lockstep the one that copies.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { Replicated } from "../built.ts";
import { copyTemplate, milliseconds, speed } from "../pairs.ts";
import { databaseSizes, fewerOfTheLargest, type Workload } from "../workload.ts";

export const workload: Workload = {
  title: "The first copy",
  axis: { label: "MB", values: databaseSizes },
  ways: { lockstep: "Lockstep: the constructor", cp: "cp + sync" },
  figures: { time: "ms", speed: "MB/s" },
  charts: [{ name: "speed", title: "The first copy", figures: ["speed"] }],
  applies: fewerOfTheLargest,
  prepare: (one) => copyTemplate(one, join(one.directory, "primary.db")),
  trial({ way, directory }) {
    const paths = ["primary.db", "replica.db"].map((name) => join(directory, name));
    const [primary, replica] = paths as [string, string];
    if (way === "cp") {
      const script = 'cp "$1" "$2" && sync "$2"';
      return speed(
        primary,
        milliseconds(() => execFileSync("sh", ["-c", script, "sh", primary, replica])),
      );
    }
    const before = performance.now();
    const db = new Replicated(primary, { replicas: [replica] });
    const ms = performance.now() - before;
    db.close();
    execFileSync("cmp", [primary, replica]);
    return speed(primary, ms);
  },
};
