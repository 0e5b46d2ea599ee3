/** Why a primary could not be opened, or not be replicated, as an error of ours. */
import { isBusy } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { busy } from "../lineage/fold.ts";

/** What SQLite says of a file that is no database, or that another program does not let go. */
export function cannotBeOpened(copy: string, error: unknown): unknown {
  if (isBusy(error)) return busy(copy, error);
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (code !== "SQLITE_NOTADB" && errcode !== 26) return error;
  return new LockstepError(codes.NOT_A_DATABASE, {
    copy,
    what: "The file does not begin like a SQLite database",
    state: "It was only read",
    next: "Name a SQLite database, or restore this one: lockstep restore REPLICA PRIMARY --force",
    cause: error,
  });
}

export function cannotBeReplicated(copy: string, mode: string): LockstepError {
  return new LockstepError(codes.BUSY, {
    copy,
    what: `Its journal mode is ${mode} and SQLite would not change it to WAL`,
    state: "Nothing was changed",
    next: "Close other programs that use this database, then open it again",
  });
}

/** The programs that write it choose its mode: that is not changed behind their backs. */
export function notWal(copy: string): LockstepError {
  return new LockstepError(codes.NOT_WAL, {
    copy,
    what: "It is not in WAL mode: only such a database can be followed",
    state: "Nothing was changed",
    next: `Once, when no program uses it: sqlite3 '${copy.replaceAll("'", "'\\''")}' 'PRAGMA journal_mode=WAL'`,
  });
}

/** The wal-index of a primary that is open. */
export function indexStaysInvalid(copy: string): LockstepError {
  return new LockstepError(codes.PRIMARY_CHANGED, {
    copy,
    what: "SQLite's index of its log stayed invalid for a second",
    state: "Whether the last transaction is on the replicas is unknown",
    next: "Close other programs that use this database, then reopen",
  });
}
