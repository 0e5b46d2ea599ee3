/**
 * Work in a process of its own: closing a descriptor of a database file would drop the POSIX locks
 * that this process holds on it, and what SQLite does in one long call can be ended there at any time.
 *
 *   node SCRIPT '{the task}'
 *
 * Here is the side of whoever waits for it; be-child.ts is the other. It prints one JSON object a line: {"progress": …} now and then, and at the end {"result": …},
 * {"refusal": an error of ours} or {"error": {message, code, errno, file}}.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { type ErrorData, fromErrorData } from "../errors.ts";

/** Who waits for the result. */
export interface Waiting<Progress> {
  readonly onProgress: (progress: Progress) => void;
  /** Why the result is not wanted any more, or null; asked whenever the child says something. */
  readonly unwanted: () => Error | null;
  /** Ends the child at once when it is aborted; `unwanted` then says why. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a task in a child process. Rejects with the child's error, or if the result was not wanted any
 * more when it came.
 * @param what names the task in messages
 */
export function runChild<Result, Progress>(
  script: string,
  what: string,
  task: object,
  { onProgress, unwanted, signal }: Waiting<Progress>,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--no-warnings", script, JSON.stringify(task)], {
      stdio: ["pipe", "pipe", "inherit"], // its input ends when this process does
      env: { ...process.env, NODE_OPTIONS: "" }, // what is meant for the application is not for this
    });
    const end = (): void => void child.kill("SIGKILL");
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
    let result: { readonly value: Result } | null = null;
    let failure: Error | null = null;
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (unwanted()) end();
      const message = JSON.parse(line) as Message<Result, Progress>;
      if ("result" in message) result = { value: message.result };
      else if ("refusal" in message) failure = fromErrorData(message.refusal);
      else if ("error" in message) {
        const { message: said, ...details } = message.error;
        failure = Object.assign(new Error(said), details);
      } else onProgress(message.progress);
    });
    child.on("error", reject);
    child.on("close", (code, killed) => {
      signal?.removeEventListener("abort", end);
      failure ??= unwanted(); // durable: no torn copy
      if (failure) reject(failure);
      else if (result && code === 0) resolve(result.value);
      else reject(new Error(`the process that does the ${what} ended with ${code ?? killed}`));
    });
  });
}

/** What the child says. */
export type Message<Result, Progress> =
  | { readonly progress: Progress }
  | { readonly result: Result }
  | { readonly refusal: ErrorData }
  | { readonly error: SystemError };

/** What the system said, and of which file, if that is not clear from the task. */
export interface SystemError {
  readonly message: string;
  readonly code: string | undefined;
  readonly errno: number | undefined;
  readonly file: string | undefined;
}
