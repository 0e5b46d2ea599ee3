/**
 * A copy in a file of this machine: `<path>`, its `-wal`, and while it is open its `-shm`.
 *
 * A read-only connection of SQLite's stays open all the while. It holds SQLite's shared lock, so
 * that no other program's last close folds and unlinks the log; and being read-only it never does
 * so itself, not even when the process is torn down around it. It is also always in a read
 * transaction, as the primary's guard is (gate/primary.ts): while frames are not in the file nobody
 * can cut the log off. Folding is done by SQLite, on a connection opened for that.
 *
 * Descriptors of the file and of the `-shm` stay open until the connection is closed, for closing one
 * drops the locks this process holds on it.
 */
import fs from "node:fs";
import path from "node:path";
import { type Connection, type Driver, isBusy, READ } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { unlessShort } from "../shortage.ts";
import type { Commit } from "../wal/chain.ts";
import {
  decodeWalHeader,
  frameOffset,
  type Salts,
  type Sums,
  sameSalts,
  sameSums,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "../wal/format.ts";
import { IndexWriter } from "../wal/index-writer.ts";
import { readFully, writeFully } from "../wal/scan.ts";
import { SharedIndex } from "../wal/shared-index.ts";
import { syncDirectory } from "./directory.ts";
import { cutLog, growLog, isTight } from "./log-file.ts";
import type { LogEnd, LogState, Target } from "./target.ts";

export class FileTarget implements Target {
  readonly #driver: Driver;
  readonly #path: string;
  readonly #guard: Connection;
  readonly #file: number = -1;
  readonly #log: number = -1;
  readonly #shm: number = -1;
  readonly #index: SharedIndex;
  readonly #writer: IndexWriter;
  readonly #logInode: number;
  #logSize = 0;
  /** Is the guard in a read transaction? */
  #held = false;
  /** The generation of which the guard is known to hold frames that are not in the file. */
  #heldSalts: Salts | null = null;
  readonly #head = new Uint8Array(WAL_HEADER_SIZE);
  /** Was the index made ready for what comes next? */
  #prepared = false;
  readonly #fileInode: number;

  /** Opens the database at `path`, which exists and is in WAL mode; makes its log's name durable. */
  constructor(driver: Driver, file: string) {
    this.#driver = driver;
    this.#path = file;
    this.#guard = openGuard(driver, file);
    try {
      this.#guard.exec("PRAGMA busy_timeout=0"); // it reads once more in `show`, and waits for no one
      this.#file = fs.openSync(file, "r");
      this.#log = fs.openSync(`${file}-wal`, "r+");
      this.#shm = fs.openSync(`${file}-shm`, "r+");
      this.#index = new SharedIndex(this.#shm);
      this.#writer = new IndexWriter(this.#shm);
      this.#logInode = fs.fstatSync(this.#log).ino;
      this.#fileInode = fs.statSync(file).ino;
      syncDirectory(path.dirname(file)); // durable: the log's name, replica
    } catch (error) {
      this.#guard.close();
      this.#closeFiles();
      throw error;
    }
  }

  check(expected: LogState): void {
    const log = fs.statSync(`${this.#path}-wal`, { throwIfNoEntry: false });
    // durable: the log has its name
    if (log?.ino !== this.#logInode) throw gone(this.#path, "Its log was removed or replaced");
    const file = fs.statSync(this.#path, { throwIfNoEntry: false });
    // durable: the file has its name
    if (file?.ino !== this.#fileInode) throw gone(this.#path, "Its file was removed or replaced");
    if (expected.frames === 0) return;
    // durable: the log is whole
    if (log.size < frameOffset(expected.frames + 1, expected.pageSize)) {
      throw changed(this.#path, "Another program folded the replica and cut its log short");
    }
    // The index shows what was published last. If that was not possible it is invalid until a reader
    // rebuilds it, perhaps while frames are being appended here: then it shows some of ours. In a
    // log that has just begun it shows none.
    const index = this.#index;
    if (!index.read() || index.frames === 0) return;
    if (sameSalts(index, expected) && index.frames <= expected.frames) return;
    // durable: no foreign frames
    throw changed(this.#path, "Another program wrote a transaction into the replica");
  }

  cutBehind(end: LogState): void {
    // durable: what another program wrote is not cut off
    this.check(end);
    cutLog(this.#log, frameOffset(end.frames + 1, end.pageSize));
    this.#logSize = 0;
  }

  write(bytes: Uint8Array, at: number, length: number, offset: number): void {
    writeFully(this.#log, bytes, at, length, offset);
  }

  sync(): void {
    fs.fdatasyncSync(this.#log); // durable: the replica's log
  }

  growAhead({ frames, pageSize }: LogState): void {
    const used = frameOffset(frames + 1, pageSize);
    if (isTight(used, this.#logSize)) this.#logSize = growLog(this.#log, used);
  }

  prepare(
    log: WalHeader,
    before: Sums & { readonly frame: number },
    pages: ArrayLike<number>,
    end: Commit,
  ): void {
    this.#prepared = this.#writer.prepare(log, before, pages, end);
  }

  publish(log: WalHeader, end: Commit): void {
    if (!this.#prepared || !this.#writer.publish(log, end)) {
      const { salt1, salt2, pageSize } = log;
      const { frame: frames, sum1, sum2 } = end;
      this.show({ salt1, salt2, pageSize, frames, sum1, sum2 });
    }
    if (this.#heldSalts && sameSalts(this.#heldSalts, log)) return;
    // The first frames since the file held all: until now another program could cut off the log.
    this.hold(); // off mark 0, which would keep the backfiller out
    if (this.#held) this.#heldSalts = { salt1: log.salt1, salt2: log.salt2 };
    const bytes = readFully(this.#log, this.#head, 0, WAL_HEADER_SIZE, 0);
    const header = bytes === WAL_HEADER_SIZE ? decodeWalHeader(this.#head) : null;
    // durable: the log has its header
    if (!header || !sameSalts(header, log)) {
      throw changed(this.#path, "Another program folded the replica and cut its log off");
    }
  }

  hold(): void {
    this.#release();
    try {
      this.#guard.exec("BEGIN");
      this.#guard.all(READ);
      this.#held = true;
    } catch (error) {
      if (!isBusy(error)) throw error; // somebody rebuilds the index: with the next commit, then
      this.#guard.exec("ROLLBACK");
    }
  }

  #release(): void {
    if (this.#held) this.#guard.exec("COMMIT");
    this.#held = false;
    this.#heldSalts = null;
  }

  show(log: LogEnd): void {
    // A rebuild that began before the last frame was written may end only now. None that begins
    // after the second time can miss a frame.
    for (let tries = 0; tries < 2; tries++) {
      if (this.#shows(log)) return;
      this.#index.invalidate();
      if (!this.#rebuild()) return;
    }
    if (this.#shows(log) || log.frames === 0) return;
    const index = this.#index;
    // durable: the log holds what was written
    if (index.read() && index.frames > 0) {
      throw changed(this.#path, "Another program wrote into the replica's log");
    }
  }

  /** Does the index show just this? One without frames says that the file has all. */
  #shows(log: LogEnd): boolean {
    const index = this.#index;
    if (!index.read() || index.frames !== log.frames) return false;
    return log.frames === 0 || (sameSalts(index, log) && sameSums(index, log));
  }

  /** Makes SQLite rebuild the index; false if it cannot just now, because of others' locks. */
  #rebuild(): boolean {
    const held = this.#held;
    this.#release(); // within a transaction the guard would not look
    try {
      this.#guard.all(READ);
      if (held) this.hold();
      return true;
    } catch (error) {
      if (!isBusy(error)) throw error;
      return false; // it stays invalid: the next reader rebuilds it, or the next commit does
    }
  }

  fold(expected: LogEnd): boolean {
    this.check(expected); // durable: a fold of our own log only
    this.show(expected); // durable: a fold of all of it
    const { frames } = expected;
    const connection = this.#openFolder();
    if (!connection) return false;
    try {
      this.#release(); // our own read mark would be in the way
      const row = checkpoint(connection, "RESTART");
      this.check(expected); // of the index as it was rebuilt
      return !row.busy && row.log === frames && row.checkpointed === frames;
    } catch (error) {
      if (isBusy(error)) return false; // a reader that just now rebuilds the index
      throw error;
    } finally {
      connection.close();
      this.hold();
    }
  }

  /** Null: there are no descriptors for it just now, or a reader rebuilds the index. */
  #openFolder(): Connection | null {
    try {
      return unlessShort(() => openWriter(this.#driver, this.#path, 0));
    } catch (error) {
      if (isBusy(error)) return null;
      throw error;
    }
  }

  syncFile(): void {
    fs.fsyncSync(this.#file);
  }

  close(rest: boolean): void {
    // The last connection to close removes the log and the `-shm`. It is opened while the wal-index
    // still says that all is folded: from a new index SQLite would write the whole log once more.
    let last: Connection | null = null;
    try {
      if (rest) {
        last = this.#driver.open(this.#path, { timeout: 1000 });
        last.all(READ);
      }
    } finally {
      this.#guard.close();
      last?.close();
      this.#closeFiles();
    }
  }

  #closeFiles(): void {
    if (this.#log >= 0) fs.closeSync(this.#log);
    if (this.#file >= 0) closeUnused(this.#path, this.#file);
    if (this.#shm >= 0) closeShared(this.#shm);
  }
}

/** A read-only connection that has read once, and so holds SQLite's shared lock until closed. */
export function openGuard(driver: Driver, file: string): Connection {
  const guard = driver.open(file, { readOnly: true, timeout: 1000 });
  try {
    guard.all(READ);
    return guard;
  } catch (error) {
    guard.close();
    throw error;
  }
}

/** A connection that may write, and folds the log only when it is asked to, or closed last. */
export function openWriter(driver: Driver, file: string, timeout: number): Connection {
  const connection = driver.open(file, { timeout });
  try {
    connection.exec("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0");
    return connection;
  } catch (error) {
    // durable: what cannot be used is not left open. Closed last it would fold and unlink the log
    connection.close();
    throw error;
  }
}

/** Does a path lead to the file that a descriptor was opened on? */
export function leadsTo(path: string, fd: number): boolean {
  const [there, here] = [fs.statSync(path, { throwIfNoEntry: false }), fs.fstatSync(fd)];
  return there?.ino === here.ino && there.dev === here.dev;
}

/** Closes a descriptor of a database file, unless a connection of this process may have it open. */
export function closeUnused(file: string, fd: number): void {
  // While SQLite's index has a name somebody has the file open, as in `closeShared`.
  if (!fs.existsSync(`${file}-shm`)) fs.closeSync(fd);
}

/** Closes a descriptor of a `-shm`, unless another connection of this process may be using it. */
export function closeShared(shm: number): void {
  // SQLite unlinks the `-shm` with the last connection. While it has a name somebody has it open,
  // perhaps in this process: then the descriptor is left, for closing it would drop their locks.
  if (fs.fstatSync(shm).nlink === 0) fs.closeSync(shm);
}

export interface CheckpointRow {
  readonly busy: boolean;
  /** Frames in the log; -1 if the database is not in WAL mode. */
  readonly log: number;
  readonly checkpointed: number;
}

/** Runs the pragma and reads all three columns of its row. */
export function checkpoint(
  connection: Connection,
  mode: "PASSIVE" | "RESTART" | "TRUNCATE",
): CheckpointRow {
  const row = connection.all(`PRAGMA wal_checkpoint(${mode})`)[0] ?? {};
  return {
    busy: Number(row["busy"]) !== 0,
    log: Number(row["log"]),
    checkpointed: Number(row["checkpointed"]),
  };
}

/** Another program was here: what the replica holds is not the primary's content any more. */
export function changed(copy: string, what: string): LockstepError {
  return new LockstepError(codes.REPLICA_CHANGED, {
    copy,
    what,
    state:
      "The primary holds every acknowledged transaction; this replica is no copy of it any more",
    next: "Close that program and reopen; if the start refuses: lockstep sync --from primary",
  });
}

/** The replica is not where it was. */
export function gone(copy: string, what: string): LockstepError {
  return new LockstepError(codes.REPLICA_GONE, {
    copy,
    what,
    state: "The primary holds every acknowledged transaction; what this copy holds is not known",
    next: "Bring its disk and directory back and reopen: the start brings the copies together",
  });
}
