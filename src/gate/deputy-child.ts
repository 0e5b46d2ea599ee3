/**
 * The committing thread's hold on a deputy's process (deputy-process.ts). It is told through its standard input, whose
 * end tells it that this process is gone. What it answers stands in a file without a name, which can be read at any
 * moment: in the middle of a checkpoint as well.
 */
import type { ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { beginChild } from "../child-process.ts";
import type { Salts } from "../wal/format.ts";

/** What it is started with. */
export interface DeputyTask {
  /** The primary's real path. */
  readonly primary: string;
  /** For how long it goes on holding when nobody tells it anything any more, in milliseconds. */
  readonly holdMs: number;
  /** What tells it from a process with the same pid: of another container, or of another time. */
  readonly token: string;
}

/** How a primary's record names a deputy. */
export function deputyName(pid: number, token: string): string {
  return `${pid}-${token}`;
}

/**
 * Where its mark shall be. It leaves the one it has only if it sees, after it has taken the new one, that the
 * log was in that state when it took it:
 *
 *   "end"    the log's end, in this generation, and not all of it folded: so it is no mark that lets the log begin anew
 *   "zero"   mark 0: the log has just these frames, or none, and all of it is in the file
 */
export type Wish = Salts & { readonly at: "end" | "zero"; readonly frames: number };

/** A line each, as JSON. To a wish it answers with twice its number, and one more if it has moved: 32 bits. */
export type DeputyCommand = (Wish & { readonly n: number }) | { readonly end: true };

export class DeputyChild {
  readonly #process: ChildProcess;
  readonly #stdin: Writable & { unref(): void };
  readonly #answers: number;
  readonly #isOver: Promise<void>;
  readonly #answer = new Uint32Array(1);

  readonly #token = randomUUID();

  /** @throws what the system says if there can be none */
  constructor(wanted: Omit<DeputyTask, "token">) {
    const task: DeputyTask = { ...wanted, token: this.#token };
    this.#answers = withoutName();
    try {
      this.#process = beginChild(SCRIPT, [JSON.stringify(task)], [this.#answers, "ignore"], {
        cwd: "/", // it outlives this process: no disk is in use because of it but the primary's
        detached: true, // and the terminal's signals are not for it
      });
    } catch (error) {
      fs.closeSync(this.#answers);
      throw error;
    }
    this.#stdin = this.#process.stdin as unknown as Writable & { unref(): void };
    this.#stdin.on("error", () => {}); // it ended: that is told by its end
    this.#stdin.unref();
    this.#process.unref();
    this.#isOver = once(this.#process, "exit").then(
      () => {},
      () => {}, // it could not be started
    );
  }

  get pid(): number | null {
    return this.#process.pid ?? null;
  }

  /** As the record names it; null: it could not be started. */
  get name(): string | null {
    return this.pid === null ? null : deputyName(this.pid, this.#token);
  }

  say(command: DeputyCommand): void {
    this.#stdin.write(`${JSON.stringify(command)}\n`);
  }

  /** What it has answered last; 0: nothing yet. */
  answer(): number {
    const bytes = new Uint8Array(this.#answer.buffer);
    fs.readSync(this.#answers, bytes, 0, bytes.length, 0);
    return this.#answer[0] as number;
  }

  /** Leaves it to itself, as the end of this process would. */
  leave(): void {
    fs.closeSync(this.#answers);
    this.#stdin.destroy();
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** Resolves with true once it is gone, with false if that takes longer than so many milliseconds. */
  ended(patience = Number.POSITIVE_INFINITY): Promise<boolean> {
    const over = this.#isOver.then(() => true);
    if (patience === Number.POSITIVE_INFINITY) return over;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), patience);
      void over.then(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }
}

// --- internal ---

const SCRIPT = fileURLToPath(
  new URL(`./deputy-process${path.extname(import.meta.url)}`, import.meta.url),
);

/** A file for two processes, which is gone when they are. */
function withoutName(): number {
  const name = path.join(os.tmpdir(), `lockstep-deputy-${randomUUID()}`);
  const fd = fs.openSync(name, "wx+", 0o600);
  fs.unlinkSync(name);
  return fd;
}
