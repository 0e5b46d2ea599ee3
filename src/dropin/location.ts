/**
 * What a constructor's first argument names: a file that can be replicated, or something else that
 * is the driver's alone (in memory, temporary, read-only).
 */
import path from "node:path";
import { isDsn, parseDsn } from "../dsn.ts";
import { codes, LockstepError } from "../errors.ts";
import { readOptions } from "../options.ts";
import type { Request } from "./connection.ts";

export interface Call {
  /** The constructor's arguments for the driver: a DSN is replaced by its primary's path. */
  readonly args: unknown[];
  /** Null if there is nothing to replicate. */
  readonly request: Request | null;
}

/**
 * Reads a constructor call.
 * @param text the first argument as a string, or null if it is none: then the driver says why
 * @param fileOf the file that such a string names, or null if it is none that could be written
 * @throws LockstepError BAD_DSN, BAD_OPTION
 */
export function readCall(
  args: unknown[],
  text: string | null,
  fileOf: (text: string) => string | null,
): Call {
  if (text === null) return { args, request: null };
  const dsn = isDsn(text) ? parseDsn(text) : null;
  const replication = readOptions(args[1], dsn?.options ?? {});
  const file = replication ? fileOf(dsn?.path ?? text) : null;
  return {
    args: dsn ? [dsn.path, ...args.slice(1)] : args,
    request: replication && file !== null ? { path: path.resolve(file), replication } : null,
  };
}

/** A `file:` URI as SQLite reads it. */
export function fileOfUri(uri: string): string | null {
  const parts = /^file:(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?/s.exec(uri) as RegExpExecArray;
  const [, authority = "", encoded = "", query = ""] = parts;
  if (authority !== "" && authority !== "localhost") {
    throw cannotReplicate(uri, `names another machine, ${authority}`);
  }
  const parameters = new URLSearchParams(query.replaceAll("+", "%2B"));
  const mode = parameters.get("mode");
  if (mode === "ro" || mode === "memory" || isTrue(parameters.get("immutable"))) return null;
  for (const [name, value] of parameters) {
    if (!HARMLESS.has(`${name}=${value}`)) throw cannotReplicate(uri, `sets ${name}=${value}`);
  }
  const file = decode(uri, encoded);
  return isMemory(file) ? null : file.replace(/^\/(?=[a-z]:[\\/])/i, isWindows ? "" : "/");
}

export function isMemory(file: string): boolean {
  return file === "" || file === ":memory:";
}

export function cannotReplicate(name: string, why: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `${JSON.stringify(name)} cannot be replicated: it ${why}`,
    state: "Nothing was opened",
    next: "Give the path of the file, or no replicas",
  });
}

// --- internal ---

const isWindows = process.platform === "win32";

/** What a URI may ask of a replicated database; all else changes how the file is locked or read. */
const HARMLESS = new Set(["mode=rw", "mode=rwc", "cache=private", "immutable=0"]);

function isTrue(value: string | null): boolean {
  return value !== null && /^(?:1|on|yes|true)$/i.test(value);
}

function decode(uri: string, encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw cannotReplicate(uri, "has a percent sign that stands for nothing");
  }
}
