/** The laboratory as its tests and its long run use it: a process that examines lives (examiner.ts). */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Order } from "./examiner.ts";
import type { Findings } from "./lives.ts";
import type { Subject } from "./subject.ts";

export class Laboratory {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;

  constructor() {
    const script = join(import.meta.dirname, "examiner.ts");
    // Each start has some megabytes outside of the heap: a small heap would be collected for them again and again.
    const args = ["--initial-old-space-size=1024", script];
    this.#child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Cuts one life, in which all is as it should be but that some syncs may be taken for none. */
  life(
    subject: Subject,
    seed: number,
    states: number,
    ignoring: RegExp | null = null,
  ): Promise<Findings> {
    return this.examine({ what: { subject, ignoring: ignoring?.source ?? null }, seed, states });
  }

  /** Cuts three lives: one from nothing, and two that begin with what a cut of the first left. */
  lives(seed: number, states: number): Promise<Findings> {
    return this.examine({ what: "lives", seed, states });
  }

  async examine(order: Order): Promise<Findings> {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error("the process that examines has died");
    return JSON.parse(value) as Findings;
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) await once(this.#child, "exit");
  }
}
