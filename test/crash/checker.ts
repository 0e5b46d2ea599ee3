/** The process that checks what kills left behind, one after the other (check.ts); one that hangs is replaced. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { patience } from "../support/patience.ts";
import type { CheckJob, CheckReport } from "./check.ts";

const SCRIPT = join(import.meta.dirname, "check.ts");
const PATIENCE_MS = 120_000;

export class Checker {
  #child: ChildProcessByStdio<Writable, Readable, Readable> | null = null;
  #answers: AsyncIterator<string> | null = null;
  #complaints = "";

  /** @throws if the check itself fails, or does not end */
  async check(job: CheckJob): Promise<CheckReport> {
    const child = (this.#child ??= this.#begin());
    const answered = patience(PATIENCE_MS, () => child.kill("SIGKILL"));
    child.stdin.write(`${JSON.stringify(job)}\n`);
    const { value, done } = await (this.#answers as AsyncIterator<string>).next();
    answered();
    if (!done) {
      const { report, error } = JSON.parse(value) as { report?: CheckReport; error?: string };
      if (report) return report;
      throw new Error(error);
    }
    await ended(child);
    this.#child = null;
    const how = child.signalCode ?? child.exitCode;
    throw new Error(`the process that checks ended (${how}): ${this.#complaints}`);
  }

  async close(): Promise<void> {
    if (!this.#child) return;
    this.#child.stdin.end();
    await ended(this.#child);
    this.#child = null;
  }

  #begin(): ChildProcessByStdio<Writable, Readable, Readable> {
    const child = spawn(process.execPath, [SCRIPT], { stdio: ["pipe", "pipe", "pipe"] });
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.#complaints = "";
    child.stdin.on("error", () => {}); // it has died: that is seen at its output
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#complaints = (this.#complaints + text).slice(-10_000);
    });
    return child;
  }
}

async function ended(child: ChildProcessByStdio<Writable, Readable, Readable>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}
