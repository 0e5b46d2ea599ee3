/**
 * What a commit costs by how much it changes: a transaction that rewrites 1 to 10,000 pages (up to
 * 40 MB), in one statement, each row filling a page.
 *
 * Fair, because all ways rewrite the same rows with the driver's own cache, so that large ones
 * spill to the log before they commit in all ways alike; the limit writes as many bytes in one call.
 */
import { dirname } from "node:path";
import {
  copyPath,
  latencies,
  logBytesOf,
  type Opened,
  open,
  transaction,
  type Way,
  warmUp,
  ways,
} from "../ledger.ts";
import { limit } from "../native.ts";
import type { Workload } from "../workload.ts";

const BODY_BYTES = 3500; // one row a page

export const workload: Workload = {
  title: "Commit latency by size of the transaction",
  axis: {
    label: "pages in the transaction",
    values: ({ quick }) => (quick ? [1, 100] : [1, 10, 100, 1000, 10_000]),
  },
  ways: {
    lockstep: "Lockstep, one replica",
    two: ways.two,
    full: ways.full,
    normal: ways.normal,
    limit: ways.limit,
  },
  figures: { p50: "µs", p99: "µs" },
  charts: [
    { name: "p50", title: "Commit latency by transaction size, p50", figures: ["p50"], log: true },
  ],
  rounds: ({ rounds }) => Math.min(rounds, 3),
  trial({ way, x: pages, directory, scratch, scale }) {
    const commits = Math.max(5, Math.round((scale.quick ? 200 : 3000) / Math.sqrt(pages)));
    const rewriting = (opened: Opened) => rewrite(opened, pages);
    if (way === "limit") {
      const bytes = logBytesOf(directory, rewriting, pages > 100 ? 2 : 50);
      const directories = [0, 1].map((copy) => dirname(copyPath(directory, copy)));
      return limit(scratch, directories, bytes, commits);
    }
    const opened = open(way as Way, directory);
    const commit = rewriting(opened);
    const first = warmUp(opened, commit);
    const figures = latencies(commit, first, { commits, seconds: 3 });
    opened.close();
    return figures;
  },
};

/** Twice as many rows as are rewritten: each time the next ones. */
function rewrite(opened: Opened, pages: number): (i: number) => void {
  const rows = 2 * Math.max(pages, 500);
  for (const db of opened.databases) {
    db.exec(`
      CREATE TABLE page (id INTEGER PRIMARY KEY, body BLOB);
      INSERT INTO page
        WITH RECURSIVE n (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n LIMIT ${rows})
        SELECT id, zeroblob(${BODY_BYTES}) FROM n;
    `);
  }
  const places = Math.floor(rows / pages);
  const from = (i: number) => (i % places) * pages;
  return transaction(opened, [
    {
      sql: `UPDATE page SET body = randomblob(${BODY_BYTES}) WHERE id >= ? AND id < ?`,
      values: (i) => [from(i), from(i) + pages],
    },
  ]);
}
