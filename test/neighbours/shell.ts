/** The `sqlite3` shell, an independent SQLite in a process of its own. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import type { TestContext } from "node:test";

/** For `test(name, { skip }, …)`. */
export const skip: string | false = spawnSync("sqlite3", ["--version"]).error
  ? "there is no sqlite3 on this machine"
  : false;

/** Opens the database, runs these lines, closes it: what it printed, and its complaint if it had one. */
export function tryShell(file: string, ...lines: string[]): { said: string; error: string } {
  const input = `${[".bail on", ".timeout 300", ...lines].join("\n")}\n`;
  const { stdout, stderr, error } = spawnSync("sqlite3", [file], { input, encoding: "utf8" });
  if (error) throw error;
  return { said: stdout.trim(), error: stderr.trim() };
}

/** The same, without a complaint. */
export function shell(file: string, ...lines: string[]): string {
  const { said, error } = tryShell(file, ...lines);
  assert.equal(error, "");
  return said;
}

/** A shell that stays where it is after these lines; resolves when it is there. */
export async function shellAt(
  t: TestContext,
  file: string,
  ...lines: string[]
): Promise<{ kill(): Promise<void> }> {
  const child: ChildProcess = spawn("sqlite3", [file], { stdio: ["pipe", "pipe", "inherit"] });
  const closed = new Promise((resolve) => child.once("close", resolve));
  t.after(() => child.kill("SIGKILL"));
  const there = new Promise((resolve) => child.stdout?.once("data", resolve));
  child.stdin?.write(`${[...lines, ".print there"].join("\n")}\n`);
  await there;
  return {
    async kill() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}
