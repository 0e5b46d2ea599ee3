/**
 * The drop-in for better-sqlite3.
 */
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { nodeTooOld } from "../node-version.ts";
import type { Database, DatabaseConstructor, Options, Statement } from "./better-sqlite3-types.ts";
import { connect, type Native, type Request } from "./connection.ts";
import { cannotReplicate, isMemory, readCall } from "./location.ts";
import { prototypeOf, type Replicated, reading } from "./methods.ts";
import { inspectScript, inspectStatement } from "./owned.ts";
import type { Method } from "./prototypes.ts";

/** The driver's class. */
export const Original = load();
const base = Original.prototype;

export const DropIn = function Database(...given: unknown[]) {
  if (!new.target) return new (DropIn as unknown as Constructor)(...given);
  const { args, request } = readCall(given, textOf(given[0]), (text) => fileOf(text, given));
  if (!request) return Reflect.construct(Original, args, new.target);
  letDriverRefuse(args, request);
  const quiet = { now: false };
  const options = hushed(args[1] as Options, quiet);
  return connect(request, driver(quiet), () =>
    Reflect.construct(Original, [args[0], options], new.target as never),
  );
} as unknown as DatabaseConstructor;

type Constructor = new (...args: unknown[]) => Database;

/** What the driver would refuse it refuses first, in its own words, and nothing is replicated. */
function letDriverRefuse(args: unknown[], { path: file, replication }: Request): void {
  const Driver = Original as unknown as Constructor;
  const options = args[1] as Options | null | undefined;
  new Driver(":memory:", options).close();
  const needed = options?.fileMustExist && !replication.restoreMissing ? file : path.dirname(file);
  if (!fs.existsSync(needed)) new Driver(...args).close();
}

/** `verbose` hears what it would hear without us. */
export function hushed(options: Options | null | undefined, quiet: { now: boolean }): unknown {
  const verbose = options?.verbose;
  if (typeof verbose !== "function") return options;
  return {
    ...options,
    verbose(this: unknown, ...args: [unknown, ...unknown[]]) {
      return quiet.now ? undefined : verbose.apply(this, args);
    },
  };
}

function driver(quiet: { now: boolean }): Native<Database> {
  return {
    driver: "better-sqlite3",
    exec(db, sql) {
      quiet.now = true;
      try {
        base.exec.call(db, sql);
      } finally {
        quiet.now = false;
      }
    },
    close: (db) => void base.close.call(db),
    inTransaction: (db) => db.inTransaction,
  };
}

const methods: Record<PropertyKey, Replicated<Database>> = {
  close(connection, db) {
    connection.close(db, () => void base.close.call(db));
    return db;
  },

  prepare(connection, _db, [sql], native) {
    connection.check();
    const canCommit = typeof sql === "string" && inspectStatement(sql, connection.path);
    return connection.prototypes.adopt(native() as Statement, canCommit ? "writer" : "reader");
  },

  exec(connection, _db, [sql], native) {
    connection.check();
    const canCommit = typeof sql === "string" && inspectScript(sql, connection.path);
    return canCommit ? connection.commit(native, sql) : native();
  },

  pragma(connection, _db, [source], native) {
    connection.check();
    if (typeof source === "string") inspectStatement(`PRAGMA ${source}`, connection.path);
    return connection.commitOne(native, source);
  },

  explain(connection, _db, [source], native) {
    connection.check();
    if (typeof source === "string") inspectStatement(`EXPLAIN ${source}`, connection.path);
    return native();
  },

  /** The driver's function begins and commits with statements of its own. */
  transaction(connection, _db, _args, native) {
    connection.check();
    const original = native() as Record<string, Method>;
    const variants = VARIANTS.map((name) => {
      const variant = original[name] as Method;
      function sqliteTransaction(this: unknown, ...args: unknown[]) {
        return connection.commitWhole(() => variant.apply(this, args));
      }
      Object.defineProperty(sqliteTransaction, "length", { value: variant.length });
      return [name, { value: sqliteTransaction }] as const;
    });
    const { database } = Object.getOwnPropertyDescriptors(original);
    const properties = { ...Object.fromEntries(variants), database };
    for (const [, { value }] of variants) {
      Object.defineProperties(value, properties as PropertyDescriptorMap);
    }
    return variants[0]?.[1].value;
  },

  async backup(connection, _db, _args, native) {
    connection.check();
    return native();
  },

  serialize: reading,
};

const VARIANTS = ["default", "deferred", "immediate", "exclusive"] as const;

Object.defineProperty(DropIn, "length", { value: Original.length });
Object.defineProperty(DropIn, "prototype", { value: prototypeOf(DropIn, base, methods) });
DropIn.SqliteError = Original.SqliteError;

/** The driver trims names, takes nothing for a temporary database, and opens buffers in memory. */
function textOf(location: unknown): string | null {
  if (typeof location === "string") return location.trim();
  return location === undefined || location === null || typeof location === "number" ? "" : null;
}

function fileOf(text: string, [location, options]: unknown[]): string | null {
  const { readonly, nativeBinding } = (options ?? {}) as Options;
  if (readonly === true) return null;
  if (typeof location === "number") {
    throw cannotReplicate(`descriptor ${location}`, "has no path beside which its log could lie");
  }
  if (isMemory(text)) return null;
  if (text.startsWith("file:")) {
    throw cannotReplicate(text, "is a URI, which better-sqlite3 takes for a file's name");
  }
  if (nativeBinding !== undefined && nativeBinding !== null) {
    throw cannotReplicate(
      text,
      "is opened with a `nativeBinding`, which does not see the locks of Lockstep's own connections",
    );
  }
  return text;
}

function load(): DatabaseConstructor {
  const require = createRequire(import.meta.url);
  try {
    requireNodeApi(require("better-sqlite3/package.json").version);
    return require("better-sqlite3");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "MODULE_NOT_FOUND" || !message.includes("'better-sqlite3")) throw error;
    const explained = new Error(
      "lockstep/better-sqlite3 needs better-sqlite3, which is not installed. " +
        "Run: npm install better-sqlite3",
      { cause: error },
    );
    throw Object.assign(explained, { code });
  }
}

/** Version 13 is built for Node-API 10; with an older one the process ends without a word. */
function requireNodeApi(version: string): void {
  if (Number.parseInt(version, 10) >= 13 && Number(process.versions.napi) < 10) {
    throw nodeTooOld(`better-sqlite3 ${version}`, "22.14");
  }
}
