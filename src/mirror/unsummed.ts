/** What SQLite before 3.50.2 commits now and then (wal/format.ts): no copy may be said to hold that. */
import { codes, LockstepError } from "../errors.ts";
import { isUnsummed } from "../wal/format.ts";

/** PRIMARY_UNSUMMED, if that is why the frame at `at` in `bytes` does not verify; else null. */
export function unsummed(bytes: Uint8Array, at: number): LockstepError | null {
  if (!isUnsummed(bytes, at)) return null;
  return new LockstepError(codes.PRIMARY_UNSUMMED, {
    copy: null,
    what: "SQLite committed a transaction without checksums to the primary's log, as versions before 3.50.2 do after a ROLLBACK TO",
    state:
      "It was not acknowledged, and a crash loses it and what follows it; every replica holds all that was",
    next: "Close this, and let a program that has the database open run PRAGMA wal_checkpoint(TRUNCATE), which saves it; then start again, or lockstep sync PRIMARY REPLICA if that refuses; and use SQLite 3.50.2 or later",
  });
}

/** Of `frames` frames of `size` bytes that begin at `at`. @throws LockstepError PRIMARY_UNSUMMED */
export function assertSummed(bytes: Uint8Array, at: number, frames: number, size: number): void {
  for (let frame = 0; frame < frames; frame++) {
    const failure = unsummed(bytes, at + frame * size);
    if (failure) throw failure;
  }
}
