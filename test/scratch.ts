/** A directory for one test, removed after it. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";

export function scratch(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-test-"));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Everything in a directory that a change could show in: names, sizes, contents. */
export function contentsOf(directory: string): Record<string, string> {
  return Object.fromEntries(
    fs
      .readdirSync(directory)
      .sort()
      .map((name) => [name, fs.readFileSync(path.join(directory, name), "base64")]),
  );
}
