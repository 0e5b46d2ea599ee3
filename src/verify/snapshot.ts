/**
 * One side of a comparison: a database held still while it is read, whoever writes it meanwhile.
 *
 * How it is held depends on what lies there, for nothing may be made or left beside a copy:
 *   -wal and -shm exist     it may be in use: a read-only connection keeps a read transaction open,
 *                           so SQLite neither folds the log past it nor restarts it
 *   rollback journal mode   the same; SQLite's shared lock keeps writers from committing
 *   no committed log        nobody has it open: SQLite reads the file as immutable
 *   a log without -shm      nobody has it open, and any connection would make a -shm: the pages are
 *                           read by us; what SQLite must look at is copied into a temporary directory
 * In the last two cases `disturbed` says afterwards whether somebody came and wrote after all.
 *
 * The descriptors of the file and of its index outlive the connection: closing one first would drop SQLite's locks.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { type Code, codes, LockstepError } from "../errors.ts";
import { Image, Log } from "../wal/image.ts";
import { naming } from "../wal/scan.ts";
import { LogInUse } from "./log-in-use.ts";

export class Snapshot {
  readonly path: string;
  readonly #fd: number;
  #held: DatabaseSync | null = null;
  /** Holds what was taken before the last `advance`. */
  #kept: DatabaseSync | null = null;
  #log: Log | null = null;
  /** While it is held in WAL mode. */
  #inUse: LogInUse | null = null;
  #fingerprint = "";
  #rebuilt: { readonly db: DatabaseSync; readonly directory: string } | null = null;

  /** @throws LockstepError NOT_A_DATABASE if there is no such file */
  constructor(file: string) {
    this.path = file;
    this.#fd = openFile(file);
  }

  /** The file's device and inode: two paths of one file are no two copies. */
  get identity(): string {
    const { dev, ino } = fs.fstatSync(this.#fd, { bigint: true });
    return `${dev}:${ino}`;
  }

  get log(): Log | null {
    return this.#log;
  }

  /**
   * Lets go of what was held and takes the newest committed state.
   * @throws LockstepError BUSY, VERIFY
   */
  take(): void {
    this.#forget();
    this.#kept?.close();
    this.#kept = null;
    if (this.#held) {
      this.#held.exec("COMMIT");
      begin(this.path, this.#held);
      this.#fingerprint = fingerprint(this.path);
    } else {
      this.#fingerprint = fingerprint(this.path);
      this.#held = naming(this.path, () => hold(this.path, this.#fd));
    }
    this.#log = this.#openLog();
  }

  /**
   * Takes the newest committed state, and goes on to hold what it held: SQLite folds no frame that
   * came in between, so an image cut back to any of them is certain.
   * @throws LockstepError BUSY, VERIFY
   */
  advance(): void {
    const next = this.#held && hold(this.path, this.#fd);
    if (!next) {
      this.take();
      return;
    }
    this.#forget();
    if (this.#kept) this.#held?.close();
    else this.#kept = this.#held;
    this.#held = next;
    this.#fingerprint = fingerprint(this.path);
    this.#log = this.#openLog();
  }

  /** The image of what was taken, up to the commit frame `cut` if given. */
  image(cut?: number): Image {
    return naming(this.path, () => new Image(this.path, this.#fd, this.#log, cut));
  }

  /** Was it written since it was taken, though nobody seemed to have it open? */
  get disturbed(): boolean {
    return this.#held === null && (fingerprint(this.path) !== this.#fingerprint || !this.#stands());
  }

  /** Has anybody committed or folded since it was taken? */
  get moved(): boolean {
    const log = Log.open(`${this.path}-wal`);
    try {
      return fingerprint(this.path) !== this.#fingerprint || endOf(log) !== endOf(this.#log);
    } finally {
      log?.close();
    }
  }

  /** Can SQLite be shown this state only in a copy of the whole? */
  get mustBeRebuilt(): boolean {
    return this.#held === null && this.#log !== null;
  }

  /** Lends a connection that sees this state to SQLite's own checks. */
  query<T>(use: (db: DatabaseSync) => T): T {
    if (this.#held) return use(this.#held);
    if (!this.#log) {
      const db = openImmutable(this.path);
      if (db) {
        try {
          return use(db);
        } finally {
          db.close();
        }
      }
    }
    this.#rebuilt ??= rebuild(this.image());
    return use(this.#rebuilt.db);
  }

  close(): void {
    this.#kept?.close();
    this.#held?.close();
    this.#forget();
    this.#inUse?.close();
    fs.closeSync(this.#fd); // last: see above
  }

  #openLog(): Log | null {
    const log = `${this.path}-wal`;
    if (!this.#held || !fs.existsSync(log)) return Log.open(log);
    this.#inUse ??= new LogInUse(this.path);
    return this.#inUse.open();
  }

  #forget(): void {
    this.#dropRebuilt();
    this.#log?.close();
    this.#log = null;
  }

  #stands(): boolean {
    return this.#log === null || this.#log.stands();
  }

  #dropRebuilt(): void {
    if (!this.#rebuilt) return;
    this.#rebuilt.db.close();
    fs.rmSync(this.#rebuilt.directory, { recursive: true });
    this.#rebuilt = null;
  }
}

/**
 * Opens snapshots of two copies, not yet taken, for as long as `use` runs.
 * @throws LockstepError NOT_A_DATABASE, BAD_OPTION if both are one file
 */
export async function withSnapshots<T>(
  a: string,
  b: string,
  use: (left: Snapshot, right: Snapshot) => Promise<T>,
): Promise<T> {
  const left = new Snapshot(a);
  try {
    const right = new Snapshot(b);
    try {
      if (left.identity === right.identity) throw oneFile(a, b);
      return await use(left, right);
    } finally {
      right.close();
    }
  } finally {
    left.close();
  }
}

// --- internal ---

const BUSY_TIMEOUT_MS = 5000;
const HEADER_SIZE = 100;
/** The version a reader must know: 2 stands for WAL mode. */
const READ_VERSION_AT = 18;

function openFile(file: string): number {
  try {
    return fs.openSync(file, "r");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    throw new LockstepError(codes.NOT_A_DATABASE, {
      copy: file,
      what: "There is no such file",
      state: "Nothing was changed",
      next: "Check the path",
      cause,
    });
  }
}

/** A read-only connection in a read transaction; null if it would leave files or cannot be had. */
function hold(file: string, fd: number): DatabaseSync | null {
  const head = new Uint8Array(HEADER_SIZE);
  if (fs.readSync(fd, head, 0, HEADER_SIZE, 0) === 0) return null; // SQLite would delete its log
  const inWalMode = head[READ_VERSION_AT] === 2;
  if (fs.existsSync(`${file}-wal`) ? !fs.existsSync(`${file}-shm`) : inWalMode) return null;
  let db: DatabaseSync | null = null;
  try {
    db = openReadOnly(file);
    begin(file, db);
    return db;
  } catch (error) {
    db?.close();
    if (NOT_HERE.has(errorCode(error) & 0xff)) return null;
    throw error;
  }
}

/** @throws LockstepError BUSY, VERIFY */
function begin(file: string, db: DatabaseSync): void {
  try {
    db.exec("BEGIN");
    db.prepare("SELECT count(*) FROM sqlite_schema").get(); // BEGIN alone takes nothing yet
  } catch (cause) {
    const [code, what, next] = READ_ERRORS[errorCode(cause)] ?? [];
    if (!code || !what || !next) throw cause;
    throw new LockstepError(code, { copy: file, what, state: "Nothing was changed", next, cause });
  }
}

function openReadOnly(name: string): DatabaseSync {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  const db = new DatabaseSync(name, { readOnly: true });
  db.exec(`PRAGMA busy_timeout=${BUSY_TIMEOUT_MS}`);
  return db;
}

/** Null on a Node.js (before 22.15) whose SQLite takes no URI. */
function openImmutable(file: string): DatabaseSync | null {
  try {
    return openReadOnly(`${pathToFileURL(file).href}?immutable=1`);
  } catch (error) {
    if (errorCode(error) === SQLITE_CANTOPEN) return null;
    throw error;
  }
}

/** SQLite's extended result code of an error of node:sqlite; NaN of another. */
function errorCode(error: unknown): number {
  return Number((error as { errcode?: unknown }).errcode);
}

const SQLITE_CANTOPEN = 14;
/**
 * READONLY, CORRUPT, CANTOPEN, NOTADB: a read-only disk without a usable -shm, or a damaged file.
 * The pages can be compared all the same; what SQLite says of them is part of the report.
 */
const NOT_HERE: ReadonlySet<number> = new Set([8, 11, SQLITE_CANTOPEN, 26]);

const READ_ERRORS: Record<number, readonly [Code, string, string]> = {
  5: [
    codes.BUSY,
    `Another program holds it exclusively and did not let go in ${BUSY_TIMEOUT_MS} ms`,
    "Close that program or wait for it, and run the command again",
  ],
  776: [
    codes.VERIFY, // READONLY_ROLLBACK
    "It has a hot journal: a transaction was cut off and must be rolled back first",
    "Open it once with the program it belongs to, and run the command again",
  ],
};

function fingerprint(file: string): string {
  const stat = fs.statSync(file, { bigint: true });
  return `${stat.ino}:${stat.size}:${stat.mtimeNs}`;
}

function endOf(log: Log | null): string {
  return log ? JSON.stringify([log.header, log.end]) : "";
}

/** Writes the image into a file that SQLite may open without a log. */
function rebuild(image: Image): { db: DatabaseSync; directory: string } {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-verify-"));
  try {
    const file = path.join(directory, "image.db");
    const fd = fs.openSync(file, "wx", 0o600);
    try {
      image.writeTo(fd);
    } finally {
      fs.closeSync(fd);
    }
    return { db: openReadOnly(file), directory };
  } catch (error) {
    fs.rmSync(directory, { recursive: true });
    throw error;
  }
}

function oneFile(a: string, b: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: b,
    what: `It is the same file as ${a}`,
    state: "Nothing was read",
    next: "Name two copies",
  });
}
