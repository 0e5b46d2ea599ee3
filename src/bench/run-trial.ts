/** Runs a trial in a child process: no way inherits another's memory, caches or threads. */
import { spawn } from "node:child_process";
import { extname } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { fromErrorData } from "../errors.ts";
import type { TrialMessage } from "./trial.ts";
import type { Trial, TrialTask } from "./ways.ts";

const entry = fileURLToPath(new URL(`./trial${extname(import.meta.url)}`, import.meta.url));

/** Settles only when the process is gone, so that its directories can be removed. */
export async function runTrial(task: TrialTask, signal: AbortSignal | undefined): Promise<Trial> {
  signal?.throwIfAborted();
  const child = spawn(process.execPath, ["--no-warnings", entry, JSON.stringify(task)], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "" }, // what is meant for the application is not for this
    detached: true, // a Ctrl-C reaches the parent only, which then ends the child
  });
  const ended = new Promise<string>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, by) => resolve(String(code ?? by)));
  });
  const kill = (): void => void child.kill("SIGKILL");
  signal?.addEventListener("abort", kill);
  try {
    const [said, status] = await Promise.all([text(child.stdout), ended]);
    signal?.throwIfAborted();
    if (said === "") throw new Error(`the process that measures ${task.way} ended with ${status}`);
    return read(JSON.parse(said) as TrialMessage);
  } finally {
    signal?.removeEventListener("abort", kill);
  }
}

function read(message: TrialMessage): Trial {
  if ("result" in message) return message.result;
  if ("refusal" in message) throw fromErrorData(message.refusal);
  const { message: what, code } = message.error;
  throw Object.assign(new Error(what), { code });
}
