/**
 * The drop-in for `node:sqlite`.
 */
import fs from "node:fs";
import path from "node:path";
import type * as sqlite from "node:sqlite";
import { isDsn } from "../dsn.ts";
import type { ReplicationHandle } from "../observe.ts";
import type { ReplicationOptions } from "../options.ts";
import { connect, connectionOf, type Native, type Request } from "./connection.ts";
import { fileOfUri, isMemory, readCall } from "./location.ts";
import { prototypeOf, type Replicated, reading } from "./methods.ts";
import { inspectScript, inspectStatement, refuseDeserialize } from "./owned.ts";
import { override } from "./prototypes.ts";

export const native: typeof sqlite = process.getBuiltinModule("node:sqlite");

/** The driver's options, and Lockstep's. */
export interface DatabaseSyncOptions extends sqlite.DatabaseSyncOptions, ReplicationOptions {}

/**
 * `DatabaseSync` of `node:sqlite`, replicated if it is opened with replicas. What the driver throws
 * passes through; what Lockstep adds is a LockstepError.
 */
export interface DatabaseSync extends sqlite.DatabaseSync {
  /** Its replication, while it is open; null if it is not replicated. */
  readonly replication: ReplicationHandle | null;
}

export interface DatabaseSyncConstructor {
  /**
   * Opens a database, and with replicas brings all copies together first.
   * @param path as for the driver, or a DSN: `sqlite3:///main.db:/replica.db`
   * @throws LockstepError, any code of the start
   */
  new (path: string | Uint8Array | URL, options?: DatabaseSyncOptions): DatabaseSync;
  readonly prototype: DatabaseSync;
}

/** What is to be replicated, of databases that are or can be opened. */
const requests = new WeakMap<object, Request>();

export const DatabaseSync = function DatabaseSync(...given: unknown[]) {
  const Native = native.DatabaseSync as unknown as (...args: unknown[]) => object;
  if (!new.target) return Native(...given); // which throws
  const { args, request } = readCall(given, textOf(given[0]), (text) => fileOf(text, given[1]));
  if (!request) return Reflect.construct(Native, args, new.target);

  // Relative to the directory of now, wherever the process is when it is opened.
  const location = String(args[0]).startsWith("file:") ? args[0] : request.path;
  const options = args[1] as DatabaseSyncOptions | null | undefined;
  const db = Reflect.construct(Native, [location, toBeOpened(options)], new.target);
  requests.set(db, request);
  if (options?.open ?? true) open(db as sqlite.DatabaseSync, request);
  return db;
} as unknown as DatabaseSyncConstructor;

/** As the driver's, if it has one; a fenced database is not read, not even for this. */
export const backup: typeof sqlite.backup =
  native.backup &&
  function backup(...args: Parameters<typeof sqlite.backup>) {
    connectionOf(args[0])?.check();
    return native.backup(...args);
  };

// --- internal ---

const base = native.DatabaseSync.prototype;

const driver: Native<sqlite.DatabaseSync> = {
  driver: "node:sqlite",
  exec: (db, sql) => base.exec.call(db, sql),
  close: (db) => base.close.call(db),
  inTransaction: (db) => db.isTransaction,
};

/** The driver checks its options now, and opens later. */
function toBeOpened(options: DatabaseSyncOptions | null | undefined): unknown {
  if (options === null) return null;
  const { open } = options ?? {};
  return { ...options, open: open === undefined || open === true ? false : open };
}

function open(db: sqlite.DatabaseSync, request: Request): void {
  if (!fs.existsSync(path.dirname(request.path))) {
    base.open.call(db); // which throws
    base.close.call(db);
  }
  connect(request, driver, () => {
    base.open.call(db);
    return db;
  });
}

const close: Replicated<sqlite.DatabaseSync> = (connection, db) =>
  connection.close(db, () => base.close.call(db));

const methods: Record<PropertyKey, Replicated<sqlite.DatabaseSync>> = {
  close,
  [Symbol.dispose]: close,

  prepare(connection, _db, [sql], native) {
    connection.check();
    const canCommit = typeof sql === "string" && inspectStatement(sql, connection.path);
    return connection.prototypes.adopt(native(), canCommit ? "writer" : "reader");
  },

  exec(connection, _db, [sql], native) {
    connection.check();
    const canCommit = typeof sql === "string" && inspectScript(sql, connection.path);
    return canCommit ? connection.commit(native, sql) : native();
  },

  createTagStore(connection, _db, _args, native) {
    connection.check();
    return connection.prototypes.adopt(native(), "tag store");
  },

  createSession(connection, _db, _args, native) {
    connection.check();
    return connection.prototypes.adopt(native(), "session");
  },

  applyChangeset: (connection, _db, _args, native) => connection.commit(native, null),

  deserialize(connection, _db, [, options], native) {
    connection.check();
    const { dbName = "main" } = (options ?? {}) as { dbName?: unknown };
    if (String(dbName).toLowerCase() === "main") refuseDeserialize(connection.path);
    return connection.commit(native, null);
  },

  serialize: reading,
};

Object.defineProperty(DatabaseSync, "length", { value: native.DatabaseSync.length });
Object.defineProperty(DatabaseSync, "prototype", {
  value: prototypeOf(DatabaseSync, base, methods),
});

override(DatabaseSync.prototype, base, {
  open(this: sqlite.DatabaseSync) {
    const request = requests.get(this);
    if (request && !connectionOf(this)) open(this, request);
    else base.open.call(this);
  },
});

/** Node.js takes strings, bytes and URLs; what it would refuse is null. */
function textOf(location: unknown): string | null {
  if (typeof location === "string") return location;
  if (location instanceof Uint8Array) return Buffer.from(location).toString();
  const href = (location as URL | null | undefined)?.href;
  return typeof href === "string" && (isDsn(href) || href.startsWith("file:")) ? href : null;
}

function fileOf(text: string, options: unknown): string | null {
  if (text.includes("\0") || isMemory(text)) return null;
  if ((options as DatabaseSyncOptions | undefined)?.readOnly === true) return null;
  return text.startsWith("file:") ? fileOfUri(text) : text;
}
