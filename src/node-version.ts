/**
 * Imported before anything else: with an older Node.js, node:sqlite is missing or hidden, and
 * better-sqlite3 13 takes the process down when it is loaded.
 */
import { codes, LockstepError } from "./errors.ts";

const REQUIRED = [22, 13] as const;

/** @throws LockstepError NODE_VERSION */
export function requireNode(version: string = process.versions.node): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > REQUIRED[0] || (major === REQUIRED[0] && minor >= REQUIRED[1])) return;
  throw nodeTooOld("Lockstep", REQUIRED.join("."), version);
}

export function nodeTooOld(
  who: string,
  required: string,
  version: string = process.versions.node,
): LockstepError {
  return new LockstepError(codes.NODE_VERSION, {
    copy: null,
    what: `${who} needs Node.js ${required} or newer, this is ${version} (${process.execPath})`,
    state: "Nothing was opened",
    next: "Run it with a newer Node.js",
  });
}

requireNode();
