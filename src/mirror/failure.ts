/**
 * What the system said when a replica failed, as an error of ours: which code, and what to do.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { isBusy } from "../driver.ts";
import { type Code, codes, LockstepError } from "../errors.ts";
import { InvariantError } from "../invariant.ts";

const STATE =
  "The primary holds every acknowledged transaction; the replica may lack the one that failed";
const REOPEN = "then reopen: the start brings the copies together";

type Kind = readonly [Code, string];
const FULL: Kind = [codes.REPLICA_FULL, `Make room on the replica's disk, ${REOPEN}`];
const GONE: Kind = [
  codes.REPLICA_GONE,
  `Bring the replica's disk and directory back, or name another path, ${REOPEN}`,
];
const IO: Kind = [
  codes.REPLICA_IO,
  `Check the replica's disk and whether it is writable, ${REOPEN}`,
];
const BUSY: Kind = [codes.BUSY, `Find the program that holds the replica and close it, ${REOPEN}`];
const NOT_A_DATABASE: Kind = [
  codes.NOT_A_DATABASE,
  "Name another path for the replica, or move that file away",
];

const BY_ERRNO: Record<string, Kind> = {
  ENOSPC: FULL,
  EDQUOT: [codes.REPLICA_FULL, `Raise the quota or make room, ${REOPEN}`],
  ENOENT: GONE,
  ENOTDIR: GONE,
  ENODEV: GONE,
  EIO: IO,
  EROFS: IO,
  ESTALE: [codes.REPLICA_GONE, `Mount the replica's file system again, ${REOPEN}`],
};

/** The drivers' errors: `code` is better-sqlite3's, the low byte of `errcode` node:sqlite's. */
const SQLITE: Record<string, readonly [number, Kind]> = {
  SQLITE_READONLY: [8, IO],
  SQLITE_IOERR: [10, IO],
  SQLITE_FULL: [13, FULL],
  SQLITE_CANTOPEN: [14, IO],
  SQLITE_NOTADB: [26, NOT_A_DATABASE],
};

/** Turns whatever was thrown while a replica was served into the error the application sees. */
export function replicaFailure(copy: string, error: unknown): LockstepError {
  if (error instanceof LockstepError) {
    return error.code === codes.SIDECAR ? aboutTheDisk(copy, error) : error;
  }
  const cause = error as Error & Coded;
  if (error instanceof InvariantError) {
    return new LockstepError(codes.WORKER_DIED, {
      copy,
      what: `The mirror stopped itself: ${cause.message}`,
      state: STATE,
      next: `This is a defect of Lockstep: report it with this message; ${REOPEN}`,
      cause,
    });
  }
  const { file } = cause;
  if (typeof file === "string" && !file.startsWith(copy)) return primaryFailure(file, cause);
  const [code, next] = missing(copy) ?? kindOf(cause) ?? IO;
  return new LockstepError(code, { copy, what: cause.message, state: STATE, next, cause });
}

// --- internal ---

/** The mirror reads the primary's files, too. */
function primaryFailure(file: string, cause: Error): LockstepError {
  return new LockstepError(codes.PRIMARY_IO, {
    copy: file,
    what: `The primary could not be read or written: ${cause.message}`,
    state: "Neither copy was changed",
    next: "Check the primary's disk, then start again",
    cause,
  });
}

interface Coded {
  readonly file?: unknown;
  readonly code?: unknown;
  readonly errno?: unknown;
  readonly errcode?: unknown;
}

/** A record that cannot be read or written because of what it lies on is no damaged record. */
function aboutTheDisk(copy: string, error: LockstepError): LockstepError {
  const cause = error.cause as Coded;
  const kind = missing(copy) ?? kindOf(cause);
  if (!kind || kind === NOT_A_DATABASE) return error;
  const [code, next] = kind;
  return new LockstepError(code, { copy, what: error.what, state: error.state, next, cause });
}

/** SQLite does not say that the directory is gone, only that it cannot open or write. */
function missing(copy: string): Kind | null {
  return fs.existsSync(path.dirname(copy)) ? null : GONE;
}

function kindOf(cause: Coded): Kind | null {
  const known = BY_ERRNO[nameOf(cause)];
  if (known) return known;
  for (const [name, [low, kind]] of Object.entries(SQLITE)) {
    if (typeof cause.errcode === "number" && (cause.errcode & 0xff) === low) return kind;
    if (typeof cause.code === "string" && cause.code.startsWith(name)) return kind;
  }
  return isBusy(cause) ? BUSY : null;
}

/** The system's name of the error. Node.js has none for some: then the number tells. */
function nameOf({ code, errno }: Coded): string {
  if (typeof code === "string" && code in BY_ERRNO) return code;
  const number = typeof errno === "number" ? Math.abs(errno) : 0;
  const entry = Object.entries(os.constants.errno).find(([, value]) => value === number);
  return entry?.[0] ?? "";
}
