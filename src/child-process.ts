/** Processes that Lockstep begins beside the application's: how each is begun, and how what it says is heard. */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

/** What it says comes through a pipe, or goes into a file that is open here. */
type Output = "pipe" | number;

export type Child<To extends Output = "pipe"> = ChildProcess & {
  readonly stdin: Writable;
  readonly stdout: To extends "pipe" ? Readable : null;
};

/**
 * Begins a module of ours. Its input is a pipe: it ends when this process does.
 * @throws what the system says if there is no room for a process; where only Node.js finds that out, `error` is emitted
 */
export function beginChild<To extends Output>(
  script: string,
  args: readonly string[],
  [output, errors]: readonly [output: To, errors: "pipe" | "inherit" | "ignore"],
  options: SpawnOptions = {},
): Child<To> {
  const child = spawn(process.execPath, ["--no-warnings", script, ...args], {
    ...options,
    stdio: ["pipe", output, errors],
    env: { ...process.env, NODE_OPTIONS: "" }, // what is meant for the application is not for this
  });
  if (child.stdin) return child as Child<To>;
  child.on("error", () => {}); // it says the same, but not before the next turn
  const message = "a process could not be begun: too many files are open";
  throw Object.assign(new Error(message), { code: "EMFILE" });
}

/**
 * Calls `heed` with what it says: one JSON object a line. What its end cut off is none, and one that says anything
 * else is ended.
 */
export function hear<Message>(child: Child, heed: (message: Message) => void): void {
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = parsed(line);
    if (message === null) child.kill("SIGKILL");
    else heed(message as Message);
  });
}

function parsed(line: string): object | null {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
