/**
 * The side of a child process (child.ts): it performs the task that it was started with, and says what
 * comes of it.
 */
import fs from "node:fs";
import { LockstepError, toErrorData } from "../errors.ts";
import type { Message, SystemError } from "./child.ts";

/**
 * Performs the task that this process was started with. One that was started without one (`SpareChild`) waits for
 * it, or for the end of its input.
 * @param load what is done before that
 */
export async function beChild<Task, Progress>(
  perform: (task: Task, progress: (progress: Progress) => void) => unknown,
  load: () => Promise<unknown> = async () => {},
): Promise<void> {
  const say = (message: Message<unknown, Progress>): void =>
    void process.stdout.write(`${JSON.stringify(message)}\n`);
  try {
    if (process.argv[2] === undefined) await load();
    const given = process.argv[2] ?? readLine(0);
    if (given === "") return; // nobody has a task for it
    const task = JSON.parse(given) as Task;
    say({ result: await perform(task, (progress) => say({ progress })) });
  } catch (error) {
    const { message, code, errno, file } = error as SystemError;
    if (error instanceof LockstepError) say({ refusal: toErrorData(error) });
    else say({ error: { message, code, errno, file } });
    process.exitCode = 1;
  }
}

/** Ends this process when nobody is left who waits, also in the middle of a call into SQLite. */
export function endWithParent(): void {
  // A thread that listens to the input, into which nothing is written.
  const listen = `const { Socket } = require("node:net");
    const end = () => process.kill(process.pid, "SIGKILL");
    new Socket({ fd: 0, writable: false }).on("end", end).on("error", end).resume();`;
  const { Worker } = process.getBuiltinModule("node:worker_threads"); // loaded by those who need it
  new Worker(listen, { eval: true }).unref();
}

/** Passes on what is due: not more often than every 100 ms, and the end. */
export function seldom<Progress>(
  tell: (progress: Progress) => void,
): (progress: Progress, done: boolean) => void {
  let told = Number.NEGATIVE_INFINITY;
  return (progress, done) => {
    const now = performance.now();
    if (now - told < PROGRESS_EVERY_MS && !done) return;
    told = now;
    tell(progress);
  };
}

// --- internal ---

const PROGRESS_EVERY_MS = 100;

/** Waits for a line; what ends without a line's end is none. */
function readLine(fd: number): string {
  const bytes = Buffer.alloc(1 << 16);
  let text = "";
  while (!text.endsWith("\n")) {
    const n = fs.readSync(fd, bytes);
    if (n === 0) return "";
    text += bytes.toString("latin1", 0, n);
  }
  return Buffer.from(text, "latin1").toString();
}
