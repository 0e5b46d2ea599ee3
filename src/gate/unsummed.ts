/** What SQLite before 3.50.2 commits now and then (wal/format.ts): it is not acknowledged, on however many copies. */
import { codes, LockstepError } from "../errors.ts";
import { isUnsummed } from "../wal/format.ts";

/** Of `frames` frames of `size` bytes that begin at `at`. @throws LockstepError PRIMARY_UNSUMMED */
export function assertSummed(bytes: Uint8Array, at: number, frames: number, size: number): void {
  for (let frame = 0; frame < frames; frame++) {
    if (isUnsummed(bytes, at + frame * size)) throw unsummed();
  }
}

// --- internal ---

function unsummed(): LockstepError {
  return new LockstepError(codes.PRIMARY_UNSUMMED, {
    copy: null,
    what: "SQLite committed a transaction without checksums to the primary's log, as versions before 3.50.2 do after a ROLLBACK TO",
    state:
      "It was not acknowledged, and a crash loses it and what follows it; what was acknowledged lies before it in the log",
    next: "Close this, and let a program that has the database open run PRAGMA wal_checkpoint(TRUNCATE), which saves it; then start again, or lockstep sync PRIMARY REPLICA if that refuses; and use SQLite 3.50.2 or later",
  });
}
