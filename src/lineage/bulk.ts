/**
 * Work that reads whole database files, in a process of its own: closing a descriptor of a database
 * file would drop the POSIX locks that the application's process holds on it.
 *
 * Here is the side of whoever waits for it; bulk-child.ts is the process.
 */
import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type ErrorData, fromErrorData } from "../errors.ts";
import type { Progress } from "../options.ts";
import type { Salts } from "../wal/format.ts";
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
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--no-warnings", CHILD, JSON.stringify(task)], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NODE_OPTIONS: "" }, // what is meant for the application is not for this
    });
    const began = performance.now();
    let result: ResultOf<Task> | null = null;
    let failure: Error | null = null;
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (!watch.wanted()) child.kill("SIGKILL");
      const message = JSON.parse(line) as BulkMessage;
      if ("result" in message) result = message.result as ResultOf<Task>;
      else if ("refusal" in message) failure = fromErrorData(message.refusal);
      else if ("error" in message) {
        const { message: what, ...details } = message.error;
        failure = Object.assign(new Error(what), details);
      } else {
        const seconds = (performance.now() - began) / 1000;
        const bytesPerSecond = Math.round(message.progress.bytesDone / Math.max(seconds, 1e-3));
        watch.onProgress({ phase: task.task, path: copy, ...message.progress, bytesPerSecond });
      }
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      // durable: no torn copy
      if (!watch.wanted()) failure ??= new Error(`nobody waits for the ${task.task} any more`);
      if (failure) reject(failure);
      else if (result && code === 0) resolve(result);
      else reject(new Error(`the process that does the ${task.task} ended with ${code ?? signal}`));
    });
  });
}

/** What the process says, one JSON object a line: its progress now and then, and in the end one of the others. */
export type BulkMessage =
  | { readonly progress: { readonly bytesDone: number; readonly bytesTotal: number } }
  | { readonly result: BulkResult | ScrubResult }
  | { readonly refusal: ErrorData }
  | { readonly error: SystemError };

/** What the system said, and of which file, if that is not clear from the task. */
export interface SystemError {
  readonly message: string;
  readonly code: string | undefined;
  readonly errno: number | undefined;
  readonly file: string | undefined;
}

// --- internal ---

/** It loads only what the task takes: a small copy takes as long as a process takes to begin. */
const CHILD = fileURLToPath(
  new URL(`./bulk-child${path.extname(import.meta.url)}`, import.meta.url),
);
