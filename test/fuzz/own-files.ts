/**
 * What may be written: a copy's file, SQLite's files beside it, and what `-lockstep` and
 * `.set-aside-` begin. Everything else in a tree stays as it is, and nothing is added to it.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

/** Files of others in each directory of a tree, some with names much like a copy's. */
export function addNeighbours(root: string): void {
  for (const directory of [root, ...directoriesIn(root)]) {
    for (const name of ["app.d", "other.db", "other.db-wal", "app-wal", "app.bak"]) {
      fs.writeFileSync(path.join(directory, name), `not a copy's: ${name}`);
    }
  }
}

/** Names, times and contents of all that is not a copy's own. */
export function othersIn(root: string, copies: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of fs.readdirSync(root, { recursive: true, encoding: "utf8" }).sort()) {
    const file = path.join(root, name);
    if (copies.some((copy) => isOwn(file, copy))) continue;
    const stat = fs.statSync(file);
    const content = stat.isFile()
      ? `${stat.mtimeMs} ${fs.readFileSync(file, "latin1")}`
      : "directory";
    found[name] = content;
  }
  return found;
}

/** Checks that `work` writes only what it may, also if it throws. */
export async function touchingOnlyOwn<T>(
  root: string,
  copies: readonly string[],
  work: () => T | Promise<T>,
): Promise<T> {
  const before = othersIn(root, copies);
  try {
    return await work();
  } finally {
    assert.deepEqual(othersIn(root, copies), before, "only the copies' own files are written");
  }
}

function isOwn(file: string, copy: string): boolean {
  if (!file.startsWith(copy)) return false;
  const suffix = file.slice(copy.length);
  return (
    ["", "-wal", "-shm", "-journal"].includes(suffix) || /^(-lockstep|\.set-aside-)/.test(suffix)
  );
}

function directoriesIn(root: string): string[] {
  return fs
    .readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => path.join(root, name));
}
