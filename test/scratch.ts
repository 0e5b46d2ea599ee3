/** A directory for one test, removed after it. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";

/** Whoever ends sometime and then cleans up: a test, or a run of its own (test/fuzz/run.ts). */
export type Ending = Pick<TestContext, "after">;

export function scratch(t: Ending): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-test-"));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What lies in a directory: names, sizes, digests of the contents. */
export function contentsOf(directory: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of fs.readdirSync(directory).sort()) {
    const bytes = fs.readFileSync(path.join(directory, name));
    const digest = createHash("sha256").update(bytes).digest("hex");
    found[name] = `${bytes.length} bytes, ${digest}`;
  }
  return found;
}
