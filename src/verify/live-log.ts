/**
 * The log of a database in use, checked against SQLite's own index of it: its connections read what that counts,
 * and a frame among those may not verify (wal/format.ts says of one reason).
 */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import { sameSalts } from "../wal/format.ts";
import { Log } from "../wal/image.ts";
import { SharedIndex } from "../wal/shared-index.ts";

export class LiveLog {
  readonly #path: string;
  readonly #fd: number;
  readonly #index: SharedIndex;

  /** @param file a database that a connection of this process holds in a read transaction */
  constructor(file: string) {
    this.#path = file;
    this.#fd = fs.openSync(`${file}-shm`, "r");
    this.#index = new SharedIndex(this.#fd);
  }

  /** @throws LockstepError VERIFY if connections see more of it than a recovery would find */
  open(): Log | null {
    const index = this.#index;
    const before = index.read() ? { ...index } : null;
    const log = Log.open(`${this.#path}-wal`);
    const verified = log && before && sameSalts(log.header, before) ? log.end.frame : 0;
    const isShort = before !== null && verified < before.frames;
    // If it is of that generation still, it did not begin anew meanwhile.
    if (!isShort || !index.read() || !sameSalts(index, before)) return log;
    log?.close();
    throw shortened(this.#path, verified, before.frames);
  }

  /** After every connection: it would drop their locks. */
  close(): void {
    fs.closeSync(this.#fd);
  }
}

// --- internal ---

function shortened(file: string, verified: number, frames: number): LockstepError {
  return new LockstepError(codes.VERIFY, {
    copy: file,
    what: `Of the ${frames} frames in its log that programs see only ${verified} verify: a crash loses the others`,
    state: "Nothing was changed",
    next: "Let a program that has it open run PRAGMA wal_checkpoint(TRUNCATE), which saves them; SQLite before 3.50.2 commits such frames",
  });
}
