/**
 * The log of a database in use, checked against SQLite's own index of it: its connections read what that counts,
 * and a frame among those may not verify (wal/format.ts says of one reason).
 */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import {
  decodeWalHeader,
  FRAME_HEADER_SIZE,
  frameOffset,
  isUnsummed,
  sameSalts,
  WAL_HEADER_SIZE,
} from "../wal/format.ts";
import { Log } from "../wal/image.ts";
import { readFully } from "../wal/scan.ts";
import { SharedIndex } from "../wal/shared-index.ts";

export class LogInUse {
  readonly #path: string;
  readonly #fd: number;
  readonly #index: SharedIndex;

  /** @param file a database that a connection of this process holds in a read transaction */
  constructor(file: string) {
    this.#path = file;
    this.#fd = fs.openSync(`${file}-shm`, "r");
    this.#index = new SharedIndex(this.#fd);
  }

  /** @throws LockstepError VERIFY if connections see frames of it that a recovery would not find */
  open(): Log | null {
    const index = this.#index;
    const before = index.read() ? { ...index } : null;
    const log = Log.open(`${this.#path}-wal`);
    const verified = log && before && sameSalts(log.header, before) ? log.end.frame : 0;
    if (!before || !this.#lacks(verified, before)) return log;
    // If it is of that generation still, it did not begin anew meanwhile.
    if (!index.read() || !sameSalts(index, before)) return log;
    log?.close();
    throw shortened(this.#path, verified, before.frames);
  }

  /**
   * Is one of the frames behind `verified` without checksums? That a frame does not verify says too little: an index that
   * SQLite may not write, and passes over, may be of any time.
   */
  #lacks(verified: number, index: IndexHeader): boolean {
    if (verified >= index.frames) return false;
    const log = fs.openSync(`${this.#path}-wal`, "r");
    try {
      const bytes = new Uint8Array(WAL_HEADER_SIZE);
      readFully(log, bytes, 0, WAL_HEADER_SIZE, 0);
      const header = decodeWalHeader(bytes);
      // A mirror writes the next generation's header when the file holds all, and only then tells the index.
      if (header && !sameSalts(header, index)) return false;
      for (let frame = verified + 1; frame <= index.frames; frame++) {
        const at = frameOffset(frame, index.pageSize);
        const read = readFully(log, bytes, 0, FRAME_HEADER_SIZE, at);
        if (read === FRAME_HEADER_SIZE && isUnsummed(bytes, 0)) return true;
      }
      return false;
    } finally {
      fs.closeSync(log);
    }
  }

  /** After every connection: it would drop their locks. */
  close(): void {
    fs.closeSync(this.#fd);
  }
}

// --- internal ---

type IndexHeader = Pick<SharedIndex, "salt1" | "salt2" | "pageSize" | "frames">;

function shortened(file: string, verified: number, frames: number): LockstepError {
  return new LockstepError(codes.VERIFY, {
    copy: file,
    what: `Of the ${frames} frames in its log that programs see only ${verified} verify: a crash loses the others`,
    state: "Nothing was changed",
    next: "Let a program that has it open run PRAGMA wal_checkpoint(TRUNCATE), which saves them; SQLite before 3.50.2 commits such frames",
  });
}
