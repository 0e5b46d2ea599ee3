/**
 * The committing thread's hold on the process that looks for rot while the copies are in use. Nothing
 * ever waits for it, and it keeps no process alive.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isStream } from "../address.ts";
import type { LivePage } from "../observe.ts";

export class Scrubber {
  /** What was found so far. */
  readonly rot: LivePage[] = [];
  #process: ChildProcess;

  /** @param bytesPerSecond how much it reads */
  constructor(copies: readonly string[], bytesPerSecond: number, onRot: (page: LivePage) => void) {
    const url = new URL(`../scrub/scrubber${extname(import.meta.url)}`, import.meta.url);
    const files = copies.filter((copy) => !isStream(copy));
    const job = JSON.stringify({ copies: files, bytesPerSecond });
    this.#process = spawn(process.execPath, ["--no-warnings", fileURLToPath(url), job], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { ...process.env, NODE_OPTIONS: "" }, // what is meant for the application is not for this
    });
    const { stdin, stdout } = this.#process;
    for (const each of [this.#process, stdin as unknown as Socket, stdout as Socket]) each.unref();
    this.#process.on("error", () => {}); // then nobody looks; nothing depends on it
    stdin?.on("error", () => {});
    createInterface({ input: stdout as Socket }).on("line", (line) => {
      const page = JSON.parse(line) as LivePage;
      this.rot.push(page);
      onRot(page);
    });
  }

  close(): void {
    this.#process.kill("SIGKILL"); // it writes nothing
  }
}
