/**
 * The little that Lockstep itself needs of a SQLite library. Two libraries in one process do not
 * see each other's POSIX locks, so whatever Lockstep opens on a copy is opened by the library that
 * the application uses: the drop-in hands over its driver's name, a worker thread loads it by name.
 */
import { createRequire } from "node:module";

export type Row = Record<string, unknown>;

export interface Connection {
  exec(sql: string): void;
  /** Runs one statement and returns its rows as objects; integers as numbers. */
  all(sql: string, ...parameters: (string | number | null)[]): Row[];
  close(): void;
}

export interface OpenOptions {
  readonly readOnly?: boolean;
  /** How long SQLite waits for a lock, in milliseconds. Default 0. */
  readonly timeout?: number;
}

export interface Driver {
  readonly name: DriverName;
  open(path: string, options?: OpenOptions): Connection;
}

/** The least that begins a read transaction: it reads the file's first page, and parses no schema. */
export const READ = "PRAGMA schema_version";

export type DriverName = "node:sqlite" | "better-sqlite3";

const loaded = new Map<DriverName, Driver>();

export function loadDriver(name: DriverName): Driver {
  const driver = loaded.get(name) ?? (name === "node:sqlite" ? nodeDriver() : betterDriver());
  loaded.set(name, driver);
  return driver;
}

/** Does this error of a driver mean that somebody else holds a lock? */
export function isBusy(error: unknown): boolean {
  return isOneOf(error, { SQLITE_BUSY: 5, SQLITE_LOCKED: 6 });
}

/** Does it mean that the file is no sound database? */
export function isDamaged(error: unknown): boolean {
  return isOneOf(error, { SQLITE_CORRUPT: 11, SQLITE_NOTADB: 26 });
}

/** Does it mean that the system did not let SQLite do it? That says nothing of the database. */
export function isOfSystem(error: unknown): boolean {
  return isOneOf(error, {
    ...{ SQLITE_NOMEM: 7, SQLITE_IOERR: 10 },
    ...{ SQLITE_FULL: 13, SQLITE_CANTOPEN: 14 },
  });
}

/** Does it mean that a file could not be opened? SQLite does not say why. */
export function isCannotOpen(error: unknown): boolean {
  return isOneOf(error, { SQLITE_CANTOPEN: 14 });
}

/** better-sqlite3's errors have a name, perhaps an extended one; node:sqlite's have a number. */
function isOneOf(error: unknown, results: Readonly<Record<string, number>>): boolean {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  return Object.entries(results).some(
    ([name, number]) =>
      (typeof code === "string" && code.startsWith(name)) ||
      (typeof errcode === "number" && (errcode & 0xff) === number),
  );
}

/** Was it said because the connection is closed? */
export function isClosed(error: unknown): boolean {
  return /not open/.test((error as Error).message);
}

/**
 * Is a connection in no transaction, and no iterator of its open? SQLite knows of both, and refuses a VACUUM then; this
 * one has no file to write into, so that nothing else comes of it but this: outside of a transaction it ends
 * `PRAGMA defer_foreign_keys`, as any statement does that reads. Throws the driver's error if it is closed.
 */
export function isIdle(exec: (sql: string) => void): boolean {
  try {
    exec("VACUUM INTO NULL");
    return true;
  } catch (error) {
    const { message } = error as Error;
    if (/non-text filename/.test(message)) return true;
    if (/cannot VACUUM|busy executing/.test(message)) return false;
    throw error;
  }
}

function nodeDriver(): Driver {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  return {
    name: "node:sqlite",
    open(path, { readOnly = false, timeout = 0 } = {}) {
      const db = new DatabaseSync(path, { readOnly, timeout });
      return {
        exec: (sql) => db.exec(sql),
        all: (sql, ...parameters) => db.prepare(sql).all(...parameters) as Row[],
        close: () => db.close(),
      };
    },
  };
}

function betterDriver(): Driver {
  const Database = createRequire(import.meta.url)("better-sqlite3") as BetterConstructor;
  return {
    name: "better-sqlite3",
    open(path, { readOnly = false, timeout = 0 } = {}) {
      const db = new Database(path, { readonly: readOnly, timeout });
      return {
        exec: (sql) => void db.exec(sql),
        all(sql, ...parameters) {
          const statement = db.prepare(sql);
          if (statement.reader) return statement.all(...parameters);
          statement.run(...parameters);
          return [];
        },
        close: () => void db.close(),
      };
    },
  };
}

/** The part of better-sqlite3 that is used above; its types are not ours to import. */
type BetterConstructor = new (
  path: string,
  options: { readonly: boolean; timeout: number },
) => {
  exec(sql: string): unknown;
  prepare(sql: string): {
    reader: boolean;
    all(...parameters: unknown[]): Row[];
    run(...parameters: unknown[]): unknown;
  };
  close(): unknown;
};

/** In which mode a database keeps its journal; sets it, if it can be. */
export function journalMode(connection: Connection, set: "" | "=WAL"): string {
  return String(connection.all(`PRAGMA journal_mode${set}`)[0]?.["journal_mode"]);
}
