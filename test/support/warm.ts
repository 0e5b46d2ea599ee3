/**
 * Threads and processes that are begun once and used again. A start begins a thread for the replica, and a
 * process where whole files are read: that takes several times as long as all they do for a small
 * database. Here `Worker` of this process is replaced by one that hands the module to a thread which has
 * done the same before (warm-thread.ts); it runs there anew, with all that it imports loaded already.
 */
import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Transferable, Worker, WorkerOptions } from "node:worker_threads";
import { spawnWarm } from "./warm-spawn.ts";

const threads = createRequire(import.meta.url)("node:worker_threads") as {
  Worker: typeof Worker;
};
const Cold = threads.Worker;
const SCRIPT = join(import.meta.dirname, "warm-thread.ts");

/** A thread remembers each run of its module. */
const RUNS_MAX = 2000;

let isWarm = false;
const idle: Thread[] = [];
/** Of each thread that runs a module: resolves when that has ended. */
const busy = new Set<Promise<unknown>>();

/** @param warm false: from now on each thread begins cold, as in an application */
export function useWarm(warm: boolean): void {
  isWarm = warm;
  threads.Worker = WarmOrCold as unknown as typeof Worker;
  spawnWarm(warm);
}

/**
 * Waits until every module that was begun has ended, for the event loop must turn until then; or so many
 * milliseconds. @throws if one goes on: its thread is not used again
 */
export async function settled(patience = 60_000): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("a thread goes on after all was closed")), patience);
  });
  try {
    await Promise.race([Promise.all(busy), late]);
  } finally {
    clearTimeout(timer);
    busy.clear();
  }
}

// --- internal ---

interface Thread {
  readonly worker: Worker;
  runs: number;
}

const WarmOrCold = function WarmOrCold(module: URL, options: WorkerOptions) {
  return isWarm ? new WarmWorker(module, options) : new Cold(module, options);
};

/** As much of a `Worker` as Lockstep uses. */
class WarmWorker extends EventEmitter {
  constructor(module: URL, { workerData, transferList }: WorkerOptions) {
    super();
    const thread = idle.pop() ?? begin();
    const { worker } = thread;
    worker.ref(); // somebody may wait for its end
    const failed = (error: unknown): boolean => this.emit("error", error);
    const exited = (code: unknown): boolean => this.emit("exit", code);
    worker.once("error", failed).once("exit", exited);
    worker.once("message", () => {
      worker.off("error", failed).off("exit", exited).unref();
      if (++thread.runs < RUNS_MAX) idle.push(thread);
      else void worker.terminate();
      this.emit("exit", 0);
    });
    const ended = new Promise((resolve) => this.once("exit", resolve));
    busy.add(ended);
    void ended.finally(() => busy.delete(ended));
    worker.postMessage({ module: module.href, workerData }, transferList as Transferable[]);
  }

  unref(): void {}
}

function begin(): Thread {
  return { worker: new Cold(SCRIPT, { trackUnmanagedFds: false }), runs: 0 };
}
