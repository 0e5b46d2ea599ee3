/**
 * What the system said when a replica failed, as an error of ours: which code, and what to do.
 */
import { type Code, codes, LockstepError } from "../errors.ts";
import { InvariantError } from "../invariant.ts";
import { isBusy } from "../lineage/sidecar.ts";

const STATE =
  "The primary holds every acknowledged transaction; the replica may lack the one that failed";
const REOPEN = "then reopen: the start brings the copies together";

const BY_ERRNO: Record<string, [Code, string]> = {
  ENOSPC: [codes.REPLICA_FULL, `Make room on the replica's disk, ${REOPEN}`],
  EDQUOT: [codes.REPLICA_FULL, `Raise the quota or make room, ${REOPEN}`],
  ENOENT: [codes.REPLICA_GONE, `Bring the replica's disk and directory back, ${REOPEN}`],
  ENOTDIR: [codes.REPLICA_GONE, `Bring the replica's disk and directory back, ${REOPEN}`],
  ESTALE: [codes.REPLICA_GONE, `Mount the replica's file system again, ${REOPEN}`],
  ENODEV: [codes.REPLICA_GONE, `Bring the replica's disk back, ${REOPEN}`],
};

/** Turns whatever was thrown while a replica was served into the error the application sees. */
export function replicaFailure(copy: string, error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  const cause = error as Error & { code?: unknown; errcode?: unknown };
  if (error instanceof InvariantError) {
    return new LockstepError(codes.WORKER_DIED, {
      copy,
      what: `The mirror stopped itself: ${cause.message}`,
      state: STATE,
      next: `This is a defect of Lockstep: report it with this message; ${REOPEN}`,
      cause,
    });
  }
  const [code, next] = kindOf(cause);
  return new LockstepError(code, { copy, what: cause.message, state: STATE, next, cause });
}

function kindOf(cause: { code?: unknown; errcode?: unknown }): [Code, string] {
  const known = typeof cause.code === "string" ? BY_ERRNO[cause.code] : undefined;
  if (known) return known;
  if (isSqlite(cause, 13, "SQLITE_FULL")) return BY_ERRNO["ENOSPC"] as [Code, string];
  if (isSqlite(cause, 14, "SQLITE_CANTOPEN")) return BY_ERRNO["ENOENT"] as [Code, string];
  if (isSqlite(cause, 26, "SQLITE_NOTADB")) {
    return [codes.NOT_A_DATABASE, "Name another path for the replica, or move that file away"];
  }
  if (isBusy(cause)) {
    return [codes.BUSY, `Find the program that holds the replica and close it, ${REOPEN}`];
  }
  return [codes.REPLICA_IO, `Check the replica's disk and whether it is writable, ${REOPEN}`];
}

/** node:sqlite says `errcode`, better-sqlite3 says `code`. */
function isSqlite(cause: { code?: unknown; errcode?: unknown }, n: number, name: string): boolean {
  return (
    (typeof cause.errcode === "number" && (cause.errcode & 0xff) === n) ||
    (typeof cause.code === "string" && cause.code.startsWith(name))
  );
}
