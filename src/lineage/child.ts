/**
 * Work in a process of its own: closing a descriptor of a database file would drop the POSIX locks
 * that this process holds on it, and what SQLite does in one long call can be ended there at any time.
 *
 *   node SCRIPT '{the task}'      or without one: it is a line of the input then, once it is known
 *
 * Here is the side of whoever waits for it; be-child.ts is the other. It prints one JSON object a line: {"progress": …} now and then, and at the end {"result": …},
 * {"refusal": an error of ours} or {"error": {message, code, errno, file}}.
 */
import { beginChild, type Child, hear } from "../child-process.ts";
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
 * @param spare the process that does it, if it was begun before
 */
export function runChild<Result, Progress>(
  script: string,
  what: string,
  task: object,
  waiting: Waiting<Progress>,
  spare: SpareChild | null = null,
): Promise<Result> {
  const { onProgress, unwanted, signal } = waiting;
  return new Promise((resolve, reject) => {
    const taken = spare?.take(task) ?? null;
    const child = taken ?? begin(script, [JSON.stringify(task)]);
    let isSilent = true;
    const end = (): void => void child.kill("SIGKILL");
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
    let result: { readonly value: Result } | null = null;
    let failure: Error | null = null;
    hear<Message<Result, Progress>>(child, (message) => {
      isSilent = false;
      if (unwanted()) end();
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
      else if (taken && isSilent && !signal?.aborted) {
        resolve(runChild(script, what, task, waiting)); // it was ended before it began
      } else if (result && code === 0) resolve(result.value);
      else reject(new Error(`the process that does the ${what} ended with ${code ?? killed}`));
    });
  });
}

/**
 * A process that is begun before it is known what for: what takes so long is its start. It ends with its input,
 * and so with this process or this thread; whoever makes one either has it take a task or drops it.
 */
export class SpareChild {
  #child: Child | null;
  /** Is nothing left of it? */
  readonly #closed: Promise<unknown>;

  constructor(script: string) {
    const child = beginSpare(script);
    this.#child = child;
    this.#closed = new Promise((resolve) => child?.on("close", resolve));
  }

  /** Its pid while it waits for a task. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Gives it a task; null if it has one already, could not be begun, or has ended. */
  take(task: object): Child | null {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return null;
    this.#child = null;
    child.stdin.write(`${JSON.stringify(task)}\n`);
    return child;
  }

  /** Nothing is left of it then, unless it has a task. */
  async drop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child) return;
    child.kill("SIGKILL");
    child.stdout.resume();
    await this.#closed;
  }
}

/** Null if it cannot be begun: whoever needs one tries it again, and says what is wrong. */
function beginSpare(script: string): Child | null {
  try {
    const child = begin(script, []);
    child.on("error", () => {}); // then it has no number
    child.stdin.on("error", () => {}); // it was ended: its end says so
    return child.pid === undefined ? null : child;
  } catch {
    return null;
  }
}

function begin(script: string, task: readonly string[]): Child {
  return beginChild(script, task, ["pipe", "inherit"]);
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
