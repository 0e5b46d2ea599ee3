/** The command, as somebody runs it: in a process of its own. */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export function lockstep(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
}

/** Runs it with `--json` and reads what it says. */
export function lockstepJson(...args: string[]): { status: number | null; json: Json } {
  const { status, stdout, stderr } = lockstep(...args, "--json");
  try {
    return { status, json: JSON.parse(stdout) };
  } catch {
    throw new Error(`no JSON from lockstep ${args.join(" ")}: ${stdout}${stderr}`);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the tests assert what is in it
export type Json = any;
