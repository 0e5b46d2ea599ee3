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
