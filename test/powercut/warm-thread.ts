/**
 * A thread that runs one module after the other, each as if the thread had begun with it (warm.ts). What a
 * module would begin a process for is done, likewise, by one that is there already (warm-process.ts).
 */
import { type ChildProcess, type spawn as Spawn, spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";
import { type MessagePort, parentPort } from "node:worker_threads";

const require = createRequire(import.meta.url);
const threads = require("node:worker_threads") as { workerData: unknown };
const processes = require("node:child_process") as { spawn: typeof Spawn };
const SCRIPT = join(import.meta.dirname, "warm-process.ts");
const cold = spawn;

let run = 0;
(parentPort as MessagePort).on("message", async ({ module, workerData }: Task) => {
  threads.workerData = workerData;
  syncBuiltinESMExports();
  await import(`${module}?run=${run++}`);
  parentPort?.postMessage("done");
});

interface Task {
  readonly module: string;
  readonly workerData: unknown;
}

processes.spawn = function spawn(command: string, args: readonly string[], ...rest: unknown[]) {
  const [, script, task] = args;
  const isBulk = command === process.execPath && /bulk-child\.[jt]s$/.test(script ?? "");
  if (!isBulk) return (cold as (...all: unknown[]) => ChildProcess)(command, args, ...rest);
  return new WarmProcess(script as string, task as string);
} as typeof Spawn;

/** The process that is there already, unless it was ended. */
let child: ChildProcess | null = null;

/** As much of a `ChildProcess` as Lockstep uses. */
class WarmProcess extends EventEmitter {
  readonly stdout = new PassThrough();
  readonly #child: ChildProcess;

  constructor(script: string, task: string) {
    super();
    child ??= cold(process.execPath, ["--no-warnings", SCRIPT], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    const { stdin, stdout } = (this.#child = child);
    if (!stdin || !stdout) throw new Error("it has pipes");
    const lines = createInterface({ input: stdout });
    const end = (code: number | null, signal: NodeJS.Signals | null): void => {
      lines.close();
      this.#child.removeAllListeners();
      this.stdout.end();
      this.stdout.once("end", () => this.emit("close", code, signal));
    };
    lines.on("line", (line) => {
      const ended = /^ended (\d+)$/.exec(line);
      if (ended) end(Number(ended[1]), null);
      else this.stdout.write(`${line}\n`);
    });
    this.#child.on("error", (error) => this.emit("error", error));
    this.#child.on("close", (code, signal) => {
      child = null;
      end(code, signal);
    });
    stdin.write(`${JSON.stringify({ script, task })}\n`);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}
