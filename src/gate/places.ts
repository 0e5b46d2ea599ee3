/** Where the copies are: one name a file, and no two the same. */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import { realPath } from "../lineage/describe.ts";

/**
 * The one name of a replica, which need not exist.
 * @throws LockstepError REPLICA_GONE if nobody can say what is there
 */
export function placeOf(replica: string): string {
  try {
    return realPath(replica);
  } catch (error) {
    throw new LockstepError(codes.REPLICA_GONE, {
      copy: replica,
      what: `Its path cannot be looked at: ${(error as Error).message}`,
      state: "Nothing was opened",
      next: "Bring its disk and directory back, or name another path, then open again",
      cause: error,
    });
  }
}

/** @throws LockstepError BAD_OPTION if two of the copies are one file */
export function distinct(copies: readonly string[]): void {
  const seen = new Set<string>();
  for (const path of copies) {
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
