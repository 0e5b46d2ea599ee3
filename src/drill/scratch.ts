/**
 * Where a drill puts the copy that it restores: a directory of its own, removed when it ends.
 *
 *   <replica>-lockstep-drill-<host>-<process>-<random>     beside the replica, or in a directory given
 *
 * A drill that was killed leaves it. The next one of the same replica in the same place removes it:
 * the name says whose it was, and whether that process still lives.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { codes, LockstepError } from "../errors.ts";
import { isAlive } from "../lineage/alive.ts";
import { walPath } from "../lineage/describe.ts";

/**
 * Makes the directory, if there is room in it for the replica and its log.
 * @param within where it is to be; default: beside the replica
 * @throws LockstepError BAD_OPTION if there is no such directory, NO_ROOM
 */
export function makeScratch(replica: string, within: string | undefined): string {
  const parent = within ?? path.dirname(replica);
  if (!fs.statSync(parent, { throwIfNoEntry: false })?.isDirectory()) {
    throw new LockstepError(codes.BAD_OPTION, {
      copy: parent,
      what: "There is no such directory for the restored copy",
      state: "Nothing was copied or changed",
      next: "Name a directory with --scratch",
    });
  }
  const prefix = `${path.basename(replica)}-lockstep-drill-`;
  sweep(parent, prefix);
  const needed = sizeOf(replica) + sizeOf(walPath(replica));
  const { bavail, bsize } = fs.statfsSync(parent);
  if (bavail * bsize < needed) throw noRoom(parent, needed, bavail * bsize);
  return fs.mkdtempSync(path.join(parent, `${prefix}${os.hostname()}-${process.pid}-`));
}

/** @throws what the system says, if it cannot be removed */
export function removeScratch(directory: string): void {
  fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}

/** @param free bytes; null: it was full when it was written to */
export function noRoom(directory: string, needed: number, free: number | null): LockstepError {
  const found = free === null ? "the disk is full" : `${free} are free`;
  return new LockstepError(codes.NO_ROOM, {
    copy: directory,
    what: `The restored copy needs up to ${needed} bytes here, and ${found}`,
    state: "The copies were only read; whether the replica restores is not known",
    next: "Make room, or name a directory on another disk with --scratch",
  });
}

// --- internal ---

function sizeOf(file: string): number {
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** Removes what drills left that were killed on this machine. */
function sweep(parent: string, prefix: string): void {
  for (const name of fs.readdirSync(parent)) {
    const owner = name.startsWith(prefix) && /^(.+)-(\d+)-\w+$/.exec(name.slice(prefix.length));
    if (!owner || owner[1] !== os.hostname() || isAlive(Number(owner[2]))) continue;
    removeScratch(path.join(parent, name));
  }
}
