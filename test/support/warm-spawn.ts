/** What Lockstep would begin a process for is done by one that is there already (warm-process.ts). */
import { type ChildProcess, type spawn as Spawn, spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";

const processes = createRequire(import.meta.url)("node:child_process") as { spawn: typeof Spawn };
const SCRIPT = join(import.meta.dirname, "warm-process.ts");
const cold = spawn;

/** Of this thread. @param warm false: each process is begun, as in an application */
export function spawnWarm(warm: boolean): void {
  processes.spawn = warm ? warmOrCold : cold;
  syncBuiltinESMExports();
}

// --- internal ---

const warmOrCold = function spawn(command: string, args: readonly string[], ...rest: unknown[]) {
  const [, script, task] = args;
  const isBulk = command === process.execPath && /bulk-child\.[jt]s$/.test(script ?? "");
  if (!isBulk) return (cold as (...all: unknown[]) => ChildProcess)(command, args, ...rest);
  return new WarmProcess(script as string, task ?? null);
} as typeof Spawn;

/** The process that is there already, unless it was ended. */
let child: ChildProcess | null = null;

/** As much of a `ChildProcess` as Lockstep uses. */
class WarmProcess extends EventEmitter {
  readonly pid = process.pid;
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  #child: ChildProcess | null = null;
  #isEnded = false;

  /** @param task null: it waits for it, as a line of its input */
  constructor(script: string, task: string | null) {
    super();
    if (task !== null) this.#begin(script, task);
    else createInterface({ input: this.stdin }).once("line", (line) => this.#begin(script, line));
  }

  #begin(script: string, task: string): void {
    child ??= cold(process.execPath, ["--no-warnings", SCRIPT], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    const warm = child;
    const { stdin, stdout } = (this.#child = warm);
    if (!stdin || !stdout) throw new Error("it has pipes");
    const lines = createInterface({ input: stdout });
    const end = (code: number | null, signal: NodeJS.Signals | null): void => {
      this.#isEnded = true;
      lines.close();
      warm.removeAllListeners();
      this.stdout.end();
      this.stdout.once("end", () => this.emit("close", code, signal));
    };
    lines.on("line", (line) => {
      const ended = /^ended (\d+)$/.exec(line);
      if (ended) end(Number(ended[1]), null);
      else this.stdout.write(`${line}\n`);
    });
    warm.on("error", (error) => this.emit("error", error));
    warm.on("close", (code, signal) => {
      if (child === warm) child = null;
      end(code, signal);
    });
    stdin.write(`${JSON.stringify({ script, task })}\n`);
  }

  kill(signal: NodeJS.Signals): void {
    const warm = this.#child;
    if (this.#isEnded) return;
    if (!warm) this.emit("close", null, signal);
    if (warm === child) child = null; // it may still say that it has done its task, but takes no other
    warm?.kill(signal);
  }
}
