/**
 * `<file>-lockstep`, a small SQLite database beside each copy: who this copy is and what it holds.
 *
 *   state(key, value)    one JSON value a key, the fields of `SidecarState` and `owner`
 *   history(…)           positions this copy's content has passed through, oldest first
 *   event(at, what, detail)   for people: copied, adopted, re-synchronised, named, restored, promoted, closed, failed: CODE
 *
 * It is opened in exclusive locking mode for as long as the copy is in use. That lock is what keeps
 * two primaries from one replica; the operating system frees it when the process dies. Others read
 * it with `readSidecar`, which takes no lock and may see a moment ago.
 *
 * Every update is one transaction and durable when it returns (synchronous=EXTRA).
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { threadId } from "node:worker_threads";
import {
  type Connection,
  type Driver,
  type DriverName,
  isBusy,
  isDamaged,
  loadDriver,
} from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import type { Salts } from "../wal/format.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { descriptorHere } from "./open-here.ts";
import { formatPosition, type LeftAt, type Position } from "./position.ts";
import { FORMAT, insertHistory, readEvents, readHistory, readOwner, readState } from "./record.ts";
import type { SumsRecord } from "./sums.ts";

/** How many positions the history keeps: one a generation, some more a start. */
const HISTORY_MAX = 20_000;
const EVENTS_MAX = 10_000;
/**
 * Milliseconds to wait for the lock. Of two that ask at the same instant each is in the other's way
 * for a moment, as is whoever looks at a replica at rest; without patience all would be refused.
 */
const LOCK_PATIENCE = 500;

export type Role = "primary" | "replica";

export interface SidecarState {
  readonly format: number;
  /** The same on every copy of one database; null until the copy belongs to one. */
  readonly databaseId: string | null;
  readonly copyId: string;
  readonly role: Role;
  readonly timeline: number;
  /** The log's present generation, and the content under its first frame, if that is known. */
  readonly generation: (Salts & { readonly base: Position | null }) | null;
  /** What the file alone holds, the fingerprint it had when that was true, and its sums, if kept. */
  readonly folded: {
    readonly position: Position;
    readonly file: Fingerprint;
    readonly sums?: SumsRecord | null;
  } | null;
  /** A checkpoint of our own may be under way: the file may differ from `folded`. */
  readonly folding: boolean;
  /** Of a primary: the paths of replicas that were on other file systems than it is. */
  readonly apart: readonly string[];
  /** Of a primary: the replicas that commits went on without, and have not rejoined. */
  readonly detached: readonly Detached[];
  /** A re-synchronisation that was begun: the log under these salts leads to this position. */
  readonly resync: (Salts & { readonly to: Position }) | null;
  /** Of a primary: its streams by name, and a message that each has acknowledged. */
  readonly streams?: Readonly<Record<string, number>>;
  readonly leftAt?: LeftAt; // of asynchronous streams, see left-at.ts
  readonly stream?: string | null; // of a standby: what it follows, by its name
}

/** A replica that lacks acknowledged commits. */
export interface Detached {
  readonly path: string;
  /** What it was last known to hold; null if that was before the last start. */
  readonly position: Position | null;
  readonly since: string;
  /** The code of what it failed with. */
  readonly code: string;
}

export interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly thread: number;
  readonly since: string;
  /** The SQLite library that it uses. */
  readonly driver: DriverName;
}

/** What an update adds to the record besides the changed fields. */
export interface Note {
  /** Positions the content has passed through, oldest first. */
  readonly history?: readonly Position[];
  /** Drops the history so far: this content has another past. */
  readonly forget?: boolean;
  readonly event?: [string, string];
}

export interface SidecarEvent {
  readonly at: string;
  readonly what: string;
  readonly detail: string;
}

export function sidecarPath(copy: string): string {
  return `${copy}-lockstep`;
}

export interface SidecarSnapshot {
  readonly state: SidecarState;
  readonly history: readonly Position[];
  readonly owner: Owner | null;
  readonly events: readonly SidecarEvent[];
}

export class Sidecar {
  readonly copy: string;
  /** Was it found in the middle of a fold that was cut off? */
  readonly foundFolding: boolean;
  #connection: Connection;
  #state: SidecarState;
  #history: Position[];
  readonly #inode: number;

  private constructor(copy: string, connection: Connection, role: Role, driver: DriverName) {
    this.copy = copy;
    this.#connection = connection;
    this.#inode = fs.statSync(sidecarPath(copy)).ino;
    const found = readState(connection);
    this.#state = found ?? emptyState(role);
    this.foundFolding = this.#state.folding;
    if (!found) this.#putState();
    this.#put("owner", { ...thisOwner(driver) });
    this.#history = readHistory(connection);
  }

  /**
   * Opens and locks it, creating it if missing.
   * @throws LockstepError LOCKED if another process or thread holds it, SIDECAR if it is unreadable
   */
  static open(driver: Driver, copy: string, role: Role): Sidecar {
    const path = sidecarPath(copy);
    if (descriptorHere(path) !== null) throw lockedError(copy);
    let connection: Connection | null = null;
    try {
      connection = driver.open(path, { timeout: LOCK_PATIENCE });
      connection.exec("BEGIN EXCLUSIVE"); // the lock of promise P6; never given back until close
      connection.exec("PRAGMA locking_mode=EXCLUSIVE"); // durable: the lock is kept
      connection.exec(SCHEMA);
      const sidecar = new Sidecar(copy, connection, role, driver.name);
      connection.exec("COMMIT");
      connection.exec("PRAGMA synchronous=EXTRA");
      return sidecar;
    } catch (error) {
      connection?.close();
      if (isBusy(error)) throw lockedError(copy);
      if (error instanceof LockstepError) throw error;
      throw sidecarError(copy, error);
    }
  }

  get state(): SidecarState {
    return this.#state;
  }

  get history(): readonly Position[] {
    return this.#history;
  }

  /** Those of the positions that its history lacks. */
  lacking(positions: readonly Position[]): Position[] {
    const known = new Set(this.#history.map(formatPosition));
    return positions.filter((position) => !known.has(formatPosition(position)));
  }

  /** Changes fields, appends to the history and the log of events, all in one durable transaction. */
  update(
    change: Partial<Omit<SidecarState, "format" | "copyId">>,
    { history = [], forget = false, event }: Note = {},
  ): void {
    const connection = this.#connection;
    const before = this.#state;
    this.#assertNamed(); // durable: its lock keeps others out only while they find it
    connection.exec("BEGIN");
    try {
      this.#state = { ...before, ...change };
      this.#putState();
      if (forget) connection.exec("DELETE FROM history");
      insertHistory(connection, history);
      if (event) {
        connection.all("INSERT INTO event(at,what,detail) VALUES(?,?,?)", now(), ...event);
      }
      if (history.length > 0) prune(connection, "history", HISTORY_MAX);
      if (event) prune(connection, "event", EVENTS_MAX);
      connection.exec("COMMIT");
    } catch (error) {
      this.#state = before;
      rollBack(connection);
      throw isDamaged(error) ? sidecarError(this.copy, error) : error;
    }
    this.#history = forget ? [...history] : [...this.#history, ...history];
  }

  /** From here on the file may differ from `folded`: its log is about to be written into it. */
  beginFold(): void {
    if (!this.#state.folding) this.update({ folding: true });
  }

  /** Releases the lock. A sidecar of a copy that never came to be is removed. */
  close(): void {
    try {
      if (this.#state.databaseId === null) fs.rmSync(sidecarPath(this.copy), { force: true });
      else this.#put("owner", null);
    } finally {
      this.#connection.close(); // a disk that takes no more must not keep the lock
    }
  }

  #assertNamed(): void {
    const file = fs.statSync(sidecarPath(this.copy), { throwIfNoEntry: false });
    if (file?.ino === this.#inode) return;
    throw sidecarError(this.copy, new Error("it was removed or replaced while it was in use"));
  }

  #putState(): void {
    for (const [key, value] of Object.entries(this.#state)) this.#put(key, value);
  }

  #put(key: string, value: unknown): void {
    this.#connection.all(
      "INSERT INTO state(key,value) VALUES(?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
      key,
      JSON.stringify(value),
    );
  }
}

/** What the sidecar of `copy` says, without a lock; null if there is none. */
export function readSidecar(driver: Driver, copy: string): SidecarSnapshot | null {
  if (!fs.existsSync(sidecarPath(copy))) return null;
  let connection: Connection | null = null;
  try {
    connection = openUnlocked(driver, sidecarPath(copy));
    return readSnapshot(connection);
  } catch (error) {
    throw sidecarError(copy, error);
  } finally {
    connection?.close();
  }
}

/** What an open record says; null if it was made, but its first transaction was not committed. */
export function readSnapshot(connection: Connection): SidecarSnapshot | null {
  try {
    const state = readState(connection);
    if (!state) return null;
    return {
      state,
      history: readHistory(connection),
      owner: readOwner(connection),
      events: readEvents(connection),
    };
  } catch (error) {
    if (/no such table/.test(String(error))) return null;
    throw error;
  }
}

/**
 * What the sidecar of `copy` says, under SQLite's shared lock for the moment of reading; null if it
 * is not there, is in use, or cannot be read.
 */
export function glimpseSidecar(driver: Driver, copy: string): SidecarState | null {
  const file = sidecarPath(copy);
  if (descriptorHere(file) !== null) return null;
  let connection: Connection | null = null;
  try {
    connection = driver.open(file, { readOnly: true, timeout: 0 });
    return readState(connection);
  } catch {
    return null; // whoever locks it finds out why
  } finally {
    connection?.close();
  }
}

// --- internal ---

/** Opens a record past the lock that the copy's user holds. */
function openUnlocked(driver: Driver, file: string): Connection {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > 22 || minor >= 15) {
    return driver.open(`${pathToFileURL(file).href}?immutable=1`, { readOnly: true });
  }
  // Its node:sqlite takes no URI: a copy is read, which is a moment old as well.
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-record-"));
  try {
    const copy = path.join(directory, "record");
    fs.copyFileSync(file, copy);
    return driver.open(copy, { readOnly: true });
  } finally {
    fs.rmSync(directory, { recursive: true }); // the connection keeps its descriptor
  }
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS state(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS history(
    id INTEGER PRIMARY KEY, timeline INTEGER NOT NULL, salt1 INTEGER NOT NULL,
    salt2 INTEGER NOT NULL, frame INTEGER NOT NULL, sum1 INTEGER NOT NULL, sum2 INTEGER NOT NULL,
    at TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS event(
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL);
`;

function now(): string {
  return new Date().toISOString();
}

function thisOwner(driver: DriverName): Owner {
  return { pid: process.pid, host: os.hostname(), thread: threadId, since: now(), driver };
}

function emptyState(role: Role): SidecarState {
  return {
    format: FORMAT,
    databaseId: null,
    copyId: crypto.randomUUID(),
    ...{ role, timeline: 1, generation: null, folded: null, folding: false },
    ...{ apart: [], detached: [], resync: null },
  };
}

/** Ends a transaction that failed, unless SQLite has done so itself. */
function rollBack(connection: Connection): void {
  try {
    connection.exec("ROLLBACK");
  } catch {
    // There was none left.
  }
}

function prune(connection: Connection, table: "history" | "event", keep: number): void {
  connection.all(`DELETE FROM ${table} WHERE id <= (SELECT max(id) FROM ${table}) - ?`, keep);
}

function lockedError(copy: string): LockstepError {
  const owner = ownerOf(copy); // a courtesy; that it is held is what matters
  const who = owner
    ? `process ${owner.pid} on ${owner.host} (thread ${owner.thread}, since ${owner.since})`
    : "another process or thread";
  return new LockstepError(codes.LOCKED, {
    copy,
    what: `${who} has this copy in use`,
    state: "Nothing was read or changed",
    next: "Close it there, or open the database where it is open already",
  });
}

/**
 * Who holds the copy, read by a process of its own: if a thread of this one does, closing another
 * descriptor of its sidecar here could drop the lock. Nor do all libraries know `immutable`.
 */
function ownerOf(copy: string): Owner | null {
  const self = fileURLToPath(import.meta.url);
  // Loaded only here: a mirror's thread has to start fast.
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const { stdout } = spawnSync(process.execPath, ["--no-warnings", self, copy], {
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  try {
    return JSON.parse(stdout) as Owner | null;
  } catch {
    return null; // it could not be read just now
  }
}

function sidecarError(copy: string, cause: unknown): LockstepError {
  return new LockstepError(codes.SIDECAR, {
    copy,
    what: `The record beside it, ${sidecarPath(copy)}, cannot be used: ${(cause as Error).message}`,
    state: "The record alone is concerned, not the copy's content",
    next:
      "If the directory is writable and the disk is sound, move that file away: " +
      "the next start then compares the copies page by page",
    cause,
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const snapshot = readSidecar(loadDriver("node:sqlite"), process.argv[2] as string);
  process.stdout.write(JSON.stringify(snapshot?.owner ?? null));
}
