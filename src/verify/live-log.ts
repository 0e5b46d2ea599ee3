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

export class LiveLog {
  readonly #path: string;
  readonly #fd: number;
  readonly #index: SharedIndex;
  /**
   * Is it surely the index that SQLite reads by? One that it may not write, and that nobody has in use, it passes over
   * and reads the log anew: that one may be of any time.
   */
  readonly #isInUse: boolean;

  /** @param file a database that a connection of this process holds in a read transaction */
  constructor(file: string) {
    this.#path = file;
    const writable = openWritable(`${file}-shm`);
    this.#isInUse = writable !== null;
    this.#fd = writable ?? fs.openSync(`${file}-shm`, "r");
    this.#index = new SharedIndex(this.#fd);
  }

  /** @throws LockstepError VERIFY if connections see more of it than a recovery would find */
  open(): Log | null {
    const index = this.#index;
    const before = index.read() ? { ...index } : null;
    const log = Log.open(`${this.#path}-wal`);
    const verified = log && before && sameSalts(log.header, before) ? log.end.frame : 0;
    const isShort = before !== null && verified < before.frames;
    if (!isShort || !this.#isLacking(verified, before)) return log;
    // If it is of that generation still, it did not begin anew meanwhile.
    if (!index.read() || !sameSalts(index, before)) return log;
    log?.close();
    throw shortened(this.#path, verified, before.frames);
  }

  /** Are frames behind `verified`, the log's last commit, ones that were committed, as far as the log shows it? */
  #isLacking(verified: number, { salt1, salt2, pageSize, frames }: IndexHeader): boolean {
    const log = fs.openSync(`${this.#path}-wal`, "r");
    try {
      const head = new Uint8Array(WAL_HEADER_SIZE);
      readFully(log, head, 0, WAL_HEADER_SIZE, 0);
      const header = decodeWalHeader(head);
      // A mirror writes the next generation's header when the file holds all, and only then tells the index.
      if (header && !sameSalts(header, { salt1, salt2 })) return false;
      if (this.#isInUse) return true;
      for (let frame = verified + 1; frame <= frames; frame++) {
        const bytes = readFully(log, head, 0, FRAME_HEADER_SIZE, frameOffset(frame, pageSize));
        if (bytes === FRAME_HEADER_SIZE && isUnsummed(head, 0)) return true;
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

/** Null: it may not be written. */
function openWritable(file: string): number | null {
  try {
    return fs.openSync(file, "r+");
  } catch (error) {
    if (NOT_WRITABLE.has((error as NodeJS.ErrnoException).code)) return null;
    throw error;
  }
}

const NOT_WRITABLE: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "EROFS"]);

function shortened(file: string, verified: number, frames: number): LockstepError {
  return new LockstepError(codes.VERIFY, {
    copy: file,
    what: `Of the ${frames} frames in its log that programs see only ${verified} verify: a crash loses the others`,
    state: "Nothing was changed",
    next: "Let a program that has it open run PRAGMA wal_checkpoint(TRUNCATE), which saves them; SQLite before 3.50.2 commits such frames",
  });
}
