/**
 * `<file>-lockstep`, a small SQLite database beside each copy: who this copy is and what it holds.
 *
 *   state(key, value)    one JSON value a key, the fields of `SidecarState`, `version` and `owner`
 *   history(…)           positions this copy's content has passed through, oldest first
 *   event(at, what, detail)   for people: copied, adopted, re-synchronised, named, restored, promoted, closed, failed: CODE
 *
 * It is opened in exclusive locking mode for as long as the copy is in use. That lock is what keeps
 * two primaries from one replica; the operating system frees it when the process dies. Others read
 * it past that lock (unlocked.ts), and may see a moment ago.
 *
 * Every update is one transaction and durable when it returns (synchronous=EXTRA). What a checkpoint
 * changes is written beside it, faster: amendment.ts.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { threadId } from "node:worker_threads";
import { type Connection, type Driver, type DriverName, isBusy, isDamaged } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import type { Salts } from "../wal/format.ts";
import { AmendmentFile, readAmendment } from "./amendment.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { descriptorHere } from "./open-here.ts";
import { formatPosition, type LeftAt, type Position } from "./position.ts";
import { FORMAT, insertHistory, readHistory, readRecord } from "./record.ts";
import { dropUnfinished, type SumsRecord } from "./sums.ts";

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
  /** Of a primary: who may keep its log as it is for a follower that was killed (`deputyName`); a number is nobody. */
  readonly deputy?: string | number | null;
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

export class Sidecar {
  readonly copy: string;
  /** Was it found in the middle of a fold that was cut off? */
  readonly foundFolding: boolean;
  #connection: Connection;
  #state: SidecarState;
  #history: Position[];
  /** How often the record was written. */
  #version = 0;
  readonly #amendments: AmendmentFile;
  /** What only the amendment says: is there anything, and what of it is history. */
  #isAmended = false;
  #unwritten: readonly Position[] = [];
  /** Did the last transaction fail? Then nobody knows which version stands there. */
  #inDoubt = false;
  /** Events that are on record with the next update. */
  #noted: (readonly [at: string, what: string, detail: string])[] = [];
  readonly #inode: number;

  private constructor(copy: string, connection: Connection, role: Role, driver: DriverName) {
    this.copy = copy;
    this.#connection = connection;
    const { ino, mode } = fs.statSync(sidecarPath(copy));
    this.#inode = ino;
    this.#amendments = new AmendmentFile(copy, mode & 0o777);
    const found = readRecord(connection, () => readAmendment(copy));
    this.#state = found?.state ?? emptyState(role);
    this.#version = found?.version ?? 0;
    this.foundFolding = this.#state.folding;
    // What was amended is on record before the next amendment; and what amends it from now on fits no
    // record from before, which somebody may put back.
    // durable: the next version
    this.#putState(found?.lacking);
    this.#version++;
    this.#put("owner", { ...thisOwner(driver) });
    this.#history = readHistory(connection, []);
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
      dropUnfinished(copy);
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
      this.#putState(this.#unwritten);
      if (forget) connection.exec("DELETE FROM history");
      insertHistory(connection, history);
      const events = event ? [...this.#noted, [now(), ...event] as const] : this.#noted;
      for (const each of events) {
        connection.all("INSERT INTO event(at,what,detail) VALUES(?,?,?)", ...each);
      }
      if (history.length > 0) prune(connection, "history", HISTORY_MAX);
      if (events.length > 0) prune(connection, "event", EVENTS_MAX);
      connection.exec("COMMIT");
    } catch (error) {
      this.#state = before;
      this.#inDoubt = true;
      rollBack(connection);
      throw isDamaged(error) ? sidecarError(this.copy, error) : error;
    }
    this.#version++;
    this.#inDoubt = this.#isAmended = false;
    this.#unwritten = this.#noted = [];
    this.#history = forget ? [...history] : [...this.#history, ...history];
  }

  /** An event for which nothing is written now: it goes with the next update, at the latest at the close. */
  note(what: string, detail: string): void {
    this.#noted = [...this.#noted, [now(), what, detail] as const].slice(-EVENTS_MAX);
  }

  /** The same as `update` for what commits wait for: with one sync, as long as it fits beside the record. */
  amend(change: Partial<SidecarState>, history: readonly Position[] = []): void {
    this.#assertNamed();
    const [copyId, version] = [this.#state.copyId, this.#version];
    const state = { ...this.#state, ...change };
    const unwritten = [...this.#unwritten, ...history];
    this.#isAmended = true; // or perhaps, if it fails
    if (this.#inDoubt || !this.#amendments.write({ copyId, version, state, history: unwritten })) {
      this.update(change, { history });
      return;
    }
    this.#state = state;
    this.#unwritten = unwritten;
    this.#history = [...this.#history, ...history];
  }

  /** From here on the file may differ from `folded`: its log is about to be written into it. */
  beginFold(): void {
    if (!this.#state.folding) this.amend({ folding: true });
  }

  /** Releases the lock. A sidecar of a copy that never came to be is removed. */
  close(): void {
    try {
      const isNamed = this.#isNamed(); // what has its name now may be another's
      if (this.#state.databaseId !== null) {
        if (this.#isAmended || this.#noted.length > 0) this.update({}); // durable: all of it is on record
        this.#put("owner", null);
      } else if (isNamed) fs.rmSync(sidecarPath(this.copy), { force: true });
      if (isNamed) this.#amendments.remove();
    } finally {
      this.#amendments.close();
      this.#connection.close(); // a disk that takes no more must not keep the lock
    }
  }

  #isNamed(): boolean {
    return fs.statSync(sidecarPath(this.copy), { throwIfNoEntry: false })?.ino === this.#inode;
  }

  #assertNamed(): void {
    if (this.#isNamed()) return;
    throw sidecarError(this.copy, new Error("it was removed or replaced while it was in use"));
  }

  /** The record as a whole, in its next version. @param lacking what its history lacks */
  #putState(lacking: readonly Position[] = []): void {
    for (const [key, value] of Object.entries(this.#state)) this.#put(key, value);
    this.#put("version", this.#version + 1);
    insertHistory(this.#connection, lacking);
  }

  #put(key: string, value: unknown): void {
    this.#connection.all(
      "INSERT INTO state(key,value) VALUES(?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
      key,
      JSON.stringify(value),
    );
  }
}

// --- internal ---

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
  const reader = new URL(`./unlocked${path.extname(import.meta.url)}`, import.meta.url);
  // Loaded only here: a mirror's thread has to start fast.
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const { stdout } = spawnSync(process.execPath, ["--no-warnings", fileURLToPath(reader), copy], {
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  try {
    return JSON.parse(stdout) as Owner | null;
  } catch {
    return null; // it could not be read just now
  }
}

/** The record cannot be used. */
export function sidecarError(copy: string, cause: unknown): LockstepError {
  return new LockstepError(codes.SIDECAR, {
    copy,
    what: `The record beside it, ${sidecarPath(copy)}, cannot be used: ${(cause as Error).message}`,
    state: "The record alone is concerned, not the copy's content",
    next:
      "If the directory is writable and the disk is sound, move that file, and what amends it, away: " +
      "the next start then compares the copies page by page",
    cause,
  });
}
