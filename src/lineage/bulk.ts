/**
 * Work that reads whole database files, in a process of its own (child.ts): closing a descriptor of a
 * database file would drop the POSIX locks that the application's process holds on it.
 *
 * Here is the side of whoever waits for it; bulk-child.ts is the process.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Progress } from "../options.ts";
import type { Salts } from "../wal/format.ts";
import { runChild, SpareChild } from "./child.ts";
import type { SumsWanted } from "./make-sums.ts";
import type { ScrubResult, ScrubTask } from "./scrub-pages.ts";
import type { SumsRecord } from "./sums.ts";

export type BulkTask =
  /** Copies `from`, a file without a log that matters, to `to`, durable but for its name. */
  | { readonly task: "copy"; readonly from: string; readonly to: string; readonly sums: SumsWanted }
  /** Compares the logical images page by page, as they end or at a frame of both logs. */
  | { readonly task: "compare"; readonly from: string; readonly to: string; frame: number | null }
  /** Reads and judges all pages of copies at rest. */
  | ScrubTask
  /**
   * Writes into `log` the transaction that turns the file `to` into the file `from`, but for what has
   * rotted in `from`, as the sums of the copy `sums` say.
   */
  | ({
      readonly task: "delta";
      readonly from: string;
      readonly to: string;
      log: string;
      readonly sums: string | null;
    } & Salts);

/** What a task ends in. */
export type ResultOf<Task extends BulkTask> = Task extends ScrubTask ? ScrubResult : BulkResult;

export interface BulkResult {
  readonly pages: number;
  /** Pages that differ (compare) or were written (delta); for a copy all of them. */
  readonly differing: number;
  /** Of a copy: the sums that were made. */
  readonly sums?: SumsRecord | null;
}

/** Who waits for the result. */
export interface Watch<Phase = Progress["phase"]> {
  readonly onProgress: (progress: Omit<Progress, "phase"> & { readonly phase: Phase }) => void;
  /** Is the result still wanted? If not, what the task reads may no longer stand still. */
  readonly wanted: () => boolean;
  /** The process that does it, if it was begun before. */
  readonly spare?: SpareChild | null;
}

/** Begins a process for a task that is expected. */
export function expectBulk(): SpareChild {
  return new SpareChild(CHILD);
}

/**
 * Runs a task in a child process and passes its progress on. Rejects with the child's error, or if
 * the result was not wanted any more when it came.
 */
export function runBulk<Task extends BulkTask>(
  task: Task,
  copy: string,
  watch: Watch<Task["task"]>,
): Promise<ResultOf<Task>> {
  const began = performance.now();
  const waiting = {
    onProgress(bytes: Bytes): void {
      const seconds = (performance.now() - began) / 1000;
      const bytesPerSecond = Math.round(bytes.bytesDone / Math.max(seconds, 1e-3));
      watch.onProgress({ phase: task.task, path: copy, ...bytes, bytesPerSecond });
    },
    unwanted: () =>
      watch.wanted() ? null : new Error(`nobody waits for the ${task.task} any more`),
  };
  return runChild<ResultOf<Task>, Bytes>(CHILD, task.task, task, waiting, watch.spare);
}

/** How much is done, of how much. */
export interface Bytes {
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

// --- internal ---

/** It loads only what the task takes: a small copy takes as long as a process takes to begin. */
const CHILD = fileURLToPath(
  new URL(`./bulk-child${path.extname(import.meta.url)}`, import.meta.url),
);
