/**
 * What reading costs with replication attached, beside the plain driver on the same file: rows by
 * their key, and scans of a whole table, in the page cache. A trial is many short batches, of which
 * it gives the median. Twice as many rounds as asked for: the two are nearly alike.
 */
import Plain from "better-sqlite3";
import { Replicated } from "../built.ts";
import { figure } from "../figures.ts";
import { makePair, pairPaths } from "../pairs.ts";
import type { Workload } from "../workload.ts";

const MEGABYTES = 20;

export const workload: Workload = {
  title: "Reads with and without replication",
  ways: { lockstep: "Lockstep, one replica", full: "better-sqlite3" },
  figures: { points: "reads/s", scans: "rows/s" },
  charts: [
    { name: "points", title: "Point reads", figures: ["points"] },
    { name: "scans", title: "Scans", figures: ["scans"] },
  ],
  rounds: ({ quick, rounds }) => (quick ? rounds : 2 * rounds),
  prepare: (one) => void makePair({ ...one, x: MEGABYTES }),
  trial({ way, shared, scale }) {
    const { primary, replica } = pairPaths({ shared, x: MEGABYTES });
    const db =
      way === "lockstep" ? new Replicated(primary, { replicas: [replica] }) : new Plain(primary);
    const rows = db.prepare("SELECT count(*) FROM customer_order").pluck().get() as number;
    const point = db.prepare("SELECT cents, note FROM customer_order WHERE id = ?");
    const scan = db.prepare("SELECT customer, cents FROM customer_order");
    const batches = scale.quick ? 5 : 40;

    const points = rates(batches, 5000, () => {
      for (let i = 0; i < 5000; i++) point.get(1 + ((i * 7919) % rows));
    });
    let seen = 0;
    const scans = rates(batches, rows, () => {
      for (const _ of scan.iterate()) seen++;
    });
    if (seen !== (batches + 1) * rows) throw new Error(`The scans saw ${seen} rows`);
    db.close();
    return { points, scans };
  },
};

/** The median of so many batches, in things a second; one batch comes before. */
function rates(batches: number, things: number, batch: () => void): number {
  batch();
  const all = Array.from({ length: batches }, () => {
    const before = performance.now();
    batch();
    return (things / (performance.now() - before)) * 1000;
  });
  return figure(all).median;
}
