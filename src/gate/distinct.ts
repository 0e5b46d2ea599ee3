/** A copy of a file on itself is none. */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import { realPath } from "../lineage/describe.ts";

/** @throws LockstepError BAD_OPTION if two of the copies are one file */
export function distinct(primary: string, replicas: readonly string[]): void {
  const seen = new Set<string>();
  for (const path of [primary, ...replicas].map(realPath)) {
    const file = fs.statSync(path, { throwIfNoEntry: false });
    const names = [path, ...(file ? [`${file.dev}:${file.ino}`] : [])];
    if (names.some((name) => seen.has(name))) {
      throw new LockstepError(codes.BAD_OPTION, {
        copy: path,
        what: "Two of the copies are the same file",
        state: "Nothing was opened",
        next: "Name a different path for each replica, on another disk if it is to survive this one",
      });
    }
    for (const name of names) seen.add(name);
  }
}
