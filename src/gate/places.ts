/** Where the copies are: one name a file or stream, and no two the same. */
import fs from "node:fs";
import { isStream, streamName } from "../address.ts";
import { codes, LockstepError } from "../errors.ts";
import { realPath } from "../lineage/describe.ts";

/**
 * The one name of a replica, which need not exist; of a stream one that anybody may read.
 * @throws LockstepError REPLICA_GONE if nobody can say what is there
 */
export function placeOf(replica: string): string {
  if (isStream(replica)) return streamName(replica);
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

/**
 * The places of all replicas. Of files that are absent nobody looks where they are.
 * @throws LockstepError BAD_OPTION if two of the copies are one
 */
export function placesOf(
  primary: string,
  replicas: readonly string[],
  absent: ReadonlyMap<string, unknown>,
): string[] {
  const isHere = (replica: string): boolean => isStream(replica) || !absent.has(replica);
  const places = replicas.map((replica) => (isHere(replica) ? placeOf(replica) : replica));
  distinct([primary, ...places.filter((_, i) => isHere(replicas[i] as string))]);
  return places;
}

/** @throws LockstepError BAD_OPTION if two of the copies are one file */
export function distinct(copies: readonly string[]): void {
  const seen = new Set<string>();
  for (const path of copies) {
    const file = isStream(path) ? undefined : fs.statSync(path, { throwIfNoEntry: false });
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
