/** A process under faults, from outside: start it, command it, see it end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Command, Job, Reply } from "./child.ts";

/** Counted second by second: one in which this process was stopped is one, however long it was. */
const PATIENCE_SECONDS = 60;

export class Subject {
  readonly #process: ChildProcess;
  readonly #replies: ((reply: Reply | null) => void)[] = [];
  #complaints = "";
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;

  constructor(job: Job, env: Record<string, string>) {
    const script = join(import.meta.dirname, "child.ts");
    this.#process = spawn(process.execPath, ["--no-warnings", script, JSON.stringify(job)], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NODE_OPTIONS: "", ...env },
      detached: true, // a group of its own, for `killgroup`
    });
    createInterface({ input: this.#process.stdout as Readable }).on("line", (line) => {
      this.#replies.shift()?.(JSON.parse(line) as Reply);
    });
    this.#process.stderr?.setEncoding("utf8").on("data", (text) => (this.#complaints += text));
    this.#process.stdin?.on("error", () => {}); // it may be dead already
    this.ended = once(this.#process, "close").then(([code, signal]) => {
      for (const reply of this.#replies.splice(0)) reply(null);
      return { code, signal };
    });
  }

  /** What it wrote to its standard error. */
  get complaints(): string {
    return this.#complaints;
  }

  /** Null if the process ended before it answered. */
  async ask(command: Command): Promise<Reply | null> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return null;
    const { promise, resolve, reject } = Promise.withResolvers<Reply | null>();
    let left = PATIENCE_SECONDS;
    const patience = setInterval(() => {
      if (--left > 0) return;
      this.kill();
      reject(new Error(`no answer to ${JSON.stringify(command)}; ${this.#complaints}`));
    }, 1000);
    this.#replies.push(resolve);
    this.#process.stdin?.write(`${JSON.stringify(command)}\n`);
    try {
      return await promise;
    } finally {
      clearInterval(patience);
    }
  }

  /** Ends it by itself. */
  async finish(): Promise<{ readonly code: number | null; readonly signal: string | null }> {
    this.#process.stdin?.end();
    return this.ended;
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** All its threads stand still until `resume`. */
  stop(): void {
    this.#process.kill("SIGSTOP");
  }

  resume(): void {
    this.#process.kill("SIGCONT");
  }
}
