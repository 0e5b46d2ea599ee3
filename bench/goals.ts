/** What is asked of Lockstep, and whether a run's results meet it. All values are medians. */
import { columns } from "./figures.ts";
import { over, type Report } from "./report.ts";

export type Reports = Readonly<Record<string, Report>>;

interface Goal {
  readonly what: string;
  readonly atMost?: number;
  readonly atLeast?: number;
  readonly unit: string;
  measured(of: Median): number;
}

/** Of a way, in a workload; without a place the last one on the axis that has it. */
type Median = (workload: string, way: string, figure: string, x?: number) => number;

const ratio = (
  what: string,
  bound: { atMost: number } | { atLeast: number },
  measured: (of: Median) => number,
): Goal => ({ what, ...bound, unit: "x", measured });

const p50 = (of: Median, workload: string, way: string): number => of(workload, way, "p50");
const opening = (size: number): Goal => ({
  what: `open in step, above a plain open, ${size} MB`,
  atMost: 15,
  unit: "ms",
  measured: (of) =>
    of("open", "lockstep", "constructor", size) - of("open", "full", "constructor", size),
});
const barrier = (of: Median, way: string): number =>
  of("callers", "barrier", "perSecond", 256) / of("callers", way, "perSecond", 256);
const reads = (of: Median, figure: string): number =>
  of("reads", "lockstep", figure) / of("reads", "full", figure);

export const goals: readonly Goal[] = [
  ratio(
    "commit p50, one replica : limit with two files",
    { atMost: 1.25 },
    (of) => p50(of, "commit", "lockstep") / p50(of, "commit", "limit"),
  ),
  ratio(
    "commit p50 : two databases",
    { atMost: 1 },
    (of) => p50(of, "commit", "lockstep") / p50(of, "commit", "two"),
  ),
  ratio(
    "commit p50, two disks of 2 ms : two databases",
    { atMost: 0.55 },
    (of) => p50(of, "two-disks", "lockstep") / p50(of, "two-disks", "two"),
  ),
  ratio(
    "commit p50, two disks of 2 ms : one plain FULL",
    { atMost: 1.1 },
    (of) => p50(of, "two-disks", "lockstep") / p50(of, "two-disks", "full"),
  ),
  ratio(
    "commit p99.9, with checkpoints : plain FULL",
    { atMost: 1.5 },
    (of) => of("tail", "lockstep", "p99.9") / of("tail", "full", "p99.9"),
  ),
  ratio("barrier, 256 callers : plain NORMAL", { atLeast: 0.75 }, (of) => barrier(of, "normal")),
  ratio("barrier, 256 callers : plain FULL", { atLeast: 15 }, (of) => barrier(of, "full")),
  ratio("barrier, 256 callers : rqlite", { atLeast: 8 }, (of) => barrier(of, "rqlite")),
  ratio(
    "commit p50, three NATS servers : their acknowledgement",
    { atMost: 1.3 },
    (of) => p50(of, "stream-commit", "nats") / p50(of, "stream-commit", "publish"),
  ),
  ratio(
    "barrier, 256 callers, 12 KB, three NATS servers : client alone",
    { atLeast: 1 },
    (of) =>
      of("stream-barrier", "nats", "perSecond") / of("stream-barrier", "publish", "perSecond"),
  ),
  opening(1),
  opening(10_000),
  ratio(
    "first copy, bytes a second : cp + sync",
    { atLeast: 0.9 },
    (of) => of("first-copy", "lockstep", "speed") / of("first-copy", "cp", "speed"),
  ),
  ratio(
    "delta of 1 %, bytes a second : cmp",
    { atLeast: 0.9 },
    (of) => of("delta", "lockstep", "speed") / of("delta", "cmp", "speed"),
  ),
  ratio("point reads, with : without", { atLeast: 0.98 }, (of) => reads(of, "points")),
  ratio("scans, with : without", { atLeast: 0.98 }, (of) => reads(of, "scans")),
  {
    what: "memory above plain better-sqlite3",
    atMost: 40,
    unit: "MB",
    measured: (of) => of("memory", "lockstep", "rss") - of("memory", "full", "rss"),
  },
  ratio("bytes written to the replica : to the primary", { atMost: 1.02 }, (of) =>
    of("bytes", "lockstep", "ratio"),
  ),
];

/** `goal / measured / met`, one row a goal. */
export function goalTable(reports: Reports): string {
  const rows = goals.map((goal) => {
    const bound = goal.atMost !== undefined ? `<= ${goal.atMost}` : `>= ${goal.atLeast}`;
    const what = `${goal.what} ${bound}${goal.unit === "x" ? "" : ` ${goal.unit}`}`;
    const value = measuredIn(reports, goal);
    if (typeof value === "string") return [what, "-", value];
    const met =
      value <= (goal.atMost ?? Number.POSITIVE_INFINITY) &&
      value >= (goal.atLeast ?? Number.NEGATIVE_INFINITY);
    return [what, `${Number(value.toPrecision(4))} ${goal.unit}`, met ? "yes" : "NO"];
  });
  return `Goals\n\n${columns([["goal", "measured", "met"], ...rows])}\n`;
}

class NotMeasured extends Error {}

function measuredIn(reports: Reports, goal: Goal): number | string {
  try {
    return goal.measured((workload, way, figure, x) => median(reports, workload, way, figure, x));
  } catch (error) {
    if (error instanceof NotMeasured) return error.message;
    throw error;
  }
}

function median(
  reports: Reports,
  workload: string,
  way: string,
  figure: string,
  x: number | undefined,
): number {
  const report = reports[workload];
  if (report === undefined) throw new NotMeasured(`not measured: ${workload} was not run`);
  const reason = report.unavailable[way];
  if (reason !== undefined) throw new NotMeasured(`not measured: ${reason}`);
  const places = x === undefined ? (report.axis?.values ?? [0]).toReversed() : [x];
  for (const place of places) {
    const found = over(report, way, place, figure);
    if (found !== null) return found.median;
  }
  const where = x === undefined ? "" : ` at ${x}`;
  const large = x === 10_000 ? " (--large)" : "";
  throw new NotMeasured(`not measured: ${workload} was not run${where}${large}`);
}
