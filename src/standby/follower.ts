/**
 * A process that follows a stream for this one (follower-child.ts): so the copy is written by one SQLite library only,
 * whichever reads it here, and this thread has nothing to do with it.
 *
 * It gets its task through its standard input, which no list of processes shows: addresses have passwords. It stops when that ends: when it
 * is told to, and when this process is gone. What it says comes as JSON, an object a line.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { absoluteAddress, isStream, streamName } from "../address.ts";
import { beginChild, type Child, hear } from "../child-process.ts";
import { codes, type ErrorData, fromErrorData, LockstepError } from "../errors.ts";
import type { KeySource } from "../stream/keys.ts";
import { type FollowProgress, type FollowStatus, SILENT_MS } from "./follow.ts";

export interface FollowerOptions {
  /** What the stream is sealed with; else its address may say so. */
  readonly keys?: KeySource | undefined;
  /** Set aside what stands at the path and cannot go on, and make it anew? Default false: refuse. */
  readonly force?: boolean | undefined;
  /** Stops waiting for the copy to be in step: rejects with the signal's reason. Default: wait as long as it takes. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: FollowProgress) => void) | undefined;
  /** Called once, if following ends before it is told to. Default: the process emits a warning. */
  readonly onFailure?: ((error: Error) => void) | undefined;
}

/** What a copy that is read while it follows has beside a replica's methods. */
export interface StandbyMethods {
  /** How it stood when it was last heard of, about a second ago; if that is more than five seconds ago `behind` is null. */
  readonly status: FollowStatus;
  /**
   * Why it follows no more, without having been told to stop; null: it does. `reach()` rejects with it then, but for positions
   * that are there already.
   */
  readonly failure: Error | null;
  /** Resolves when nothing follows any more, soon after `close()`: then others may follow with the copy, or promote it. */
  readonly stopped: Promise<void>;
}

/** What the child is told. */
export interface FollowerTask {
  readonly stream: string;
  readonly dest: string;
  /** Where the keys are; or their text, of a function. */
  readonly keys: { readonly source: string } | { readonly text: string } | null;
  readonly force: boolean;
}

/** What the child says. */
export type FollowerSays =
  | { readonly progress: FollowProgress }
  | { readonly inStep: FollowStatus }
  | { readonly status: FollowStatus }
  | { readonly refusal: ErrorData }
  | { readonly error: { readonly message: string; readonly code: string | null } };

export class Follower {
  /** Resolves when nothing follows any more, however that came. */
  readonly stopped: Promise<void>;
  /** Why it ended before it was told to. */
  failure: Error | null = null;
  /** What else is to happen then. */
  onEnd: () => void = () => {};
  readonly #child: Child;
  readonly #inStep = Promise.withResolvers<void>();
  readonly #shown: string;
  readonly #options: FollowerOptions;
  #status: FollowStatus | null = null;
  /** When that was heard, by the monotonic clock. */
  #heardAt = 0;
  #isTold = false;

  private constructor(task: FollowerTask, options: FollowerOptions) {
    this.#options = options;
    this.#shown = streamName(task.stream);
    const child = begin(this.#shown);
    this.#child = child;
    child.stdin.on("error", () => {}); // it ended: that is told by its end
    child.stdin.write(`${JSON.stringify(task)}\n`);
    hear<FollowerSays>(child, (said) => this.#hear(said));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.stopped = promise;
    const end = (how: string): void => {
      if (!this.#isTold) this.#fail(how);
      resolve();
    };
    child.on("error", (error) => end(`could not be started: ${error.message}`));
    child.on("close", (code, signal) => end(`ended with ${code ?? signal}`));
  }

  /**
   * Resolves when the copy at `dest` has come to what was the stream's end at the start.
   * @throws LockstepError BAD_OPTION, and as follow.ts; the signal's reason
   */
  static async start(
    stream: string,
    dest: string,
    options: FollowerOptions = {},
  ): Promise<Follower> {
    if (!isStream(stream)) throw notAStream(stream);
    const { keys, force = false, signal } = options;
    signal?.throwIfAborted();
    const given = typeof keys === "function" ? { text: await keys() } : keys && { source: keys };
    const task = { dest: path.resolve(dest), stream: absoluteAddress(stream), force };
    const follower = new Follower({ ...task, keys: given || null }, options);
    const give = (): void => follower.#inStep.reject(signal?.reason);
    signal?.addEventListener("abort", give, { once: true });
    try {
      await follower.#inStep.promise;
    } catch (error) {
      follower.stop();
      await follower.stopped;
      throw error;
    } finally {
      signal?.removeEventListener("abort", give);
    }
    follower.#hold(false);
    return follower;
  }

  /** How it stood when it was last heard of; a process that is stopped, or hangs, says nothing. */
  get status(): FollowStatus {
    const status = this.#status as FollowStatus;
    const isSilent = performance.now() - this.#heardAt > SILENT_MS;
    return isSilent ? { ...status, behind: null } : status;
  }

  /** Ends it in an orderly way, or within ten seconds at once, which does the copy no harm. */
  stop(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#hold(true); // who waits for `stopped` is not to end before
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), PATIENCE_MS);
    void this.stopped.then(() => clearTimeout(timer));
  }

  #hear(said: FollowerSays): void {
    if ("progress" in said) this.#options.onProgress?.(said.progress);
    else if ("status" in said) this.#note(said.status);
    else if ("inStep" in said) {
      this.#note(said.inStep);
      this.#inStep.resolve();
    } else if (this.#isTold) {
      // It was cut off in the middle of something, as it was told to.
    } else if ("refusal" in said) this.failure = fromErrorData(said.refusal);
    else {
      const { message, code } = said.error;
      this.failure = Object.assign(new Error(message), code === null ? {} : { code });
    }
  }

  #note(status: FollowStatus): void {
    this.#status = status;
    this.#heardAt = performance.now();
  }

  /** It ended, and nobody had told it to. */
  #fail(how: string): void {
    this.#isTold = true;
    this.failure ??= died(this.#shown, how);
    const { failure } = this;
    const { onFailure } = this.#options;
    if (this.#status === null) {
      this.#inStep.reject(failure); // whoever opens it is told
      return;
    }
    this.onEnd();
    if (onFailure) onFailure(failure);
    else process.emitWarning(`a standby follows no more: ${failure.message}`, "LockstepWarning");
  }

  /** Does this process live as long as the other? An open copy alone keeps no process alive. */
  #hold(is: boolean): void {
    const { stdin, stdout } = this.#child as unknown as Record<"stdin" | "stdout", Held>;
    for (const each of [this.#child, stdin, stdout]) is ? each.ref() : each.unref();
  }
}

// --- internal ---

const PATIENCE_MS = 10_000;

const CHILD = fileURLToPath(
  new URL(`./follower-child${path.extname(import.meta.url)}`, import.meta.url),
);

function begin(stream: string): Child {
  try {
    return beginChild(CHILD, [], ["pipe", "inherit"]);
  } catch (error) {
    throw died(stream, `could not be started: ${(error as Error).message}`);
  }
}

interface Held {
  ref(): void;
  unref(): void;
}

function notAStream(given: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `${given} is no stream: nats://host/name or archive:/path is one`,
    state: "Nothing was opened",
    next: "Name a stream; a file that is a replica is opened with openReplica",
  });
}

function died(stream: string, how: string): LockstepError {
  return new LockstepError(codes.WORKER_DIED, {
    copy: stream,
    what: `The process that follows it ${how}`,
    state: "The copy is as it was when that ended, and does not come on",
    next: "Close it and open it anew: it goes on from where it stands",
  });
}
