/** `lockstep bench`: what replication costs on these disks. */
import { parseArgs } from "node:util";
import { type BenchReport, bench, type WayReport } from "../../bench.ts";
import { type Canvas, chart } from "../chart.ts";
import { untilInterrupted } from "../interrupt.ts";
import { bytes, type Io, UsageError } from "../io.ts";
import { table } from "../table.ts";

export const usage = `Usage: lockstep bench [--directory DIR] [--replica DIR]… [--seconds N] [--json]

Measures what replication costs on these disks: one small transaction, committed again and again
to stable storage, with node:sqlite, in every way. Works in temporary directories, which are
removed at the end.

  --directory  where the primary would be; default: the current directory
  --replica    where a replica would be, once for each; default: one, where the primary is
  --seconds    how long it takes, about, from 1 to 600; default: 30

  plain        one database, synchronous=FULL, without Lockstep
  databases    as many databases as copies, one after the other, without Lockstep
  commit       Lockstep, durability "commit"
  barrier      Lockstep, durability "barrier": so many callers commit and wait, each for its own
  disk         what the disks can do: a thread for each writes the same bytes and syncs them,
               all at the same time

  --json       {"directories": {"primary": string, "replicas": [string, …],
                                "oneDisk": boolean, "inMemory": boolean},
                "seconds": number, "rounds": number, "bytesPerCommit": number,
                "ways": [{"way": string, "callers": number, "p50Ms", "p99Ms", "commitsPerSecond",
                          "ratioToPlain": number  (of commits a second; all medians of the rounds),
                          "trials": [{"p50Ms", "p99Ms", "commitsPerSecond", "commits"}, …]}, …]}

Examples:
  lockstep bench
  lockstep bench --directory /var/lib/app --replica /mnt/usb --seconds 60

Exit status: 0 measured, 1 failed, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values } = parseArgs({
    args,
    options: {
      directory: { type: "string" },
      replica: { type: "string", multiple: true },
      seconds: { type: "string", default: "30" },
      json: { type: "boolean" },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds >= 1 && seconds <= 600)) {
    throw new UsageError(`--seconds takes a number from 1 to 600, not "${values.seconds}".`);
  }
  const copies = 1 + (values.replica?.length ?? 1);
  const report = await untilInterrupted((signal) =>
    bench({
      directory: values.directory,
      replicas: values.replica,
      seconds,
      signal,
      onProgress: ({ way, trialsDone, trialsTotal }) =>
        io.progress({
          what: "measure",
          step: way ? label(way, copies) : "done",
          stepsDone: trialsDone,
          stepsTotal: trialsTotal,
        }),
    }),
  );
  if (values.json) io.json(report);
  else for (const line of describe(report, io.canvas)) io.print(line);
  return 0;
}

/** What the command prints. */
export function describe(report: BenchReport, canvas: Canvas): string[] {
  const { directories, ways, rounds, bytesPerCommit } = report;
  const { primary, replicas, oneDisk, inMemory } = directories;
  const copies = 1 + replicas.length;
  const lines = [
    `primary  ${primary}`,
    ...replicas.map((replica) => `replica  ${replica}`),
    `commits of ${bytes(bytesPerCommit)}, medians of ${rounds} rounds`,
  ];
  if (oneDisk) {
    const which = copies === 2 ? "BOTH COPIES ARE" : "SOME COPIES ARE";
    lines.push(`${which} ON ONE DISK: it does all the work, and they would be lost together.`);
    lines.push("To measure another disk too, name a directory on it with --replica.");
  }
  if (inMemory) lines.push("IN MEMORY: this is no disk; a sync costs nothing there.");
  lines.push(
    "",
    ...table([HEADER, ...ways.map((way) => row(way, copies))], canvas.columns),
    "",
    "commits/s",
  );
  const bars = ways.map((way) => ({
    label: label(way, copies),
    value: way.commitsPerSecond,
    figure: way.commitsPerSecond.toFixed(0),
    ours: way.way === "commit" || way.way === "barrier",
  }));
  lines.push(...chart(bars, canvas));
  return lines;
}

// --- internal ---

const HEADER = ["", "p50 ms", "p99 ms", "commits/s", "to plain"];

function row(way: WayReport, copies: number): string[] {
  return [
    label(way, copies),
    way.p50Ms.toFixed(3),
    way.p99Ms.toFixed(3),
    way.commitsPerSecond.toFixed(0),
    `${way.ratioToPlain.toFixed(2)} x`,
  ];
}

const LABELS = {
  plain: "plain, one database",
  databases: "databases, one after the other",
  commit: "lockstep commit",
  barrier: "lockstep barrier",
  disk: "the disk's own limit",
};

function label({ way, callers }: Pick<WayReport, "way" | "callers">, copies: number): string {
  if (way === "databases") return `${copies} ${LABELS.databases}`;
  if (way !== "barrier") return LABELS[way];
  return `${LABELS.barrier}, ${callers} caller${callers === 1 ? "" : "s"}`;
}
