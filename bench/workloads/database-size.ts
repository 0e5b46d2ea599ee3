/**
 * What a commit costs by how large the database is: the small transaction in databases of 1 MB to
 * 1 GB (10 GB with --large). Nobody's commit should depend on that, but the whole copy's.
 */
import { latencies, ledger, open, type Way, warmUp, ways } from "../ledger.ts";
import { template } from "../templates.ts";
import { databaseSizes, fewerOfTheLargest, type Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Commit latency by size of the database",
  axis: { label: "MB", values: databaseSizes },
  ways: {
    lockstep: "Lockstep, one replica",
    two: ways.two,
    full: ways.full,
    copy: ways.copy,
  },
  figures: { p50: "µs", p99: "µs" },
  charts: [
    { name: "p50", title: "Commit latency by database size, p50", figures: ["p50"], log: true },
  ],
  applies: fewerOfTheLargest,
  rounds: ({ rounds }) => Math.min(rounds, 3),
  prepare: ({ x, scratch }) => void template(scratch, x),
  trial({ way, x, directory, scratch, scale }) {
    const opened = open(way as Way, directory, { template: template(scratch, x) });
    const commit = ledger(opened);
    const first = warmUp(opened, commit);
    const figures = latencies(commit, first, { commits: scale.quick ? 200 : 2000, seconds: 5 });
    opened.close();
    return figures;
  },
};
