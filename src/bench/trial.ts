/**
 * One way, once, in a process of its own:
 *
 *   node trial.js '{"way", "callers", "directories": [PATH, …], "milliseconds"}'
 *
 * It prints one JSON object: {"result": a Trial}, {"refusal": an error of ours} or
 * {"error": {message, code}}.
 */
import { join } from "node:path";
import { type ErrorData, LockstepError, toErrorData } from "../errors.ts";
import { DatabaseSync } from "../index.ts";
import { Disks } from "./disk.ts";
import { percentile } from "./figures.ts";
import { countBytesPerCommit, ledger, openPlain } from "./ledger.ts";
import type { Trial, TrialTask } from "./ways.ts";

export type TrialMessage =
  | { readonly result: Trial }
  | { readonly refusal: ErrorData }
  | { readonly error: { readonly message: string; readonly code: string | undefined } };

/** The least time that is measured, as a share of what the trial may take. */
const MEASURED_MIN = 0.3;
/** Of the time that is left after everything is open. */
const WARM_UP = 0.2;

/** Something to commit to. */
interface Opened {
  /** Returns when every directory has it, or else `durable` resolves then. */
  commit(): void;
  durable?(): Promise<unknown> | undefined;
  close(): void;
  readonly bytesPerCommit?: number;
}

function open({ way, directories }: TrialTask): Opened {
  const [primary, ...replicas] = directories.map((directory) => join(directory, "bench.db"));
  switch (way) {
    case "plain":
      return plain([primary as string]);
    case "databases":
      return plain([primary as string, ...replicas]);
    case "commit": {
      const db = new DatabaseSync(primary as string, { replicas });
      return { commit: ledger(db), close: () => db.close() };
    }
    case "barrier": {
      const db = new DatabaseSync(primary as string, { replicas, durability: "barrier" });
      return {
        commit: ledger(db),
        durable: () => db.replication?.durable(),
        close: () => db.close(),
      };
    }
    case "disk":
      return new Disks(directories, countBytesPerCommit(directories[0] as string));
  }
}

function plain(paths: readonly string[]): Opened {
  const databases = paths.map(openPlain);
  const commits = databases.map((db) => ledger(db));
  return {
    commit() {
      for (const commit of commits) commit();
    },
    close() {
      for (const db of databases) db.close();
    },
  };
}

async function measure(task: TrialTask): Promise<Trial> {
  const opened = open(task);
  await opened.durable?.();
  const opening = performance.now(); // since the process began
  const end = Math.max(task.milliseconds, opening + task.milliseconds * MEASURED_MIN);
  const start = opening + (end - opening) * WARM_UP;
  const latencies: number[] = [];
  let first = Number.POSITIVE_INFINITY;
  const caller = async (): Promise<void> => {
    // The first that begins after the end is late, not missing: there is always one to count.
    for (let before = 0; before < end; ) {
      before = performance.now();
      opened.commit();
      if (opened.durable) await opened.durable();
      if (before < start) continue;
      latencies.push(performance.now() - before);
      first = Math.min(first, before);
    }
  };
  await Promise.all(Array.from({ length: task.callers }, caller));
  const seconds = (performance.now() - first) / 1000;
  opened.close();
  const sorted = Float64Array.from(latencies).sort();
  return {
    p50Ms: percentile(sorted, 50),
    p99Ms: percentile(sorted, 99),
    commitsPerSecond: latencies.length / seconds,
    commits: latencies.length,
    bytesPerCommit: opened.bytesPerCommit ?? null,
  };
}

async function main(task: TrialTask): Promise<void> {
  let message: TrialMessage;
  try {
    message = { result: await measure(task) };
  } catch (error) {
    const { message: what, code } = error as NodeJS.ErrnoException;
    if (error instanceof LockstepError) message = { refusal: toErrorData(error) };
    else message = { error: { message: what, code } };
  }
  // Whatever still runs after an error, a thread that writes for instance, ends with the process.
  process.stdout.write(`${JSON.stringify(message)}\n`, () => process.exit());
}

await main(JSON.parse(process.argv[2] as string) as TrialTask);
