/** Adds a replica to every constructor call that opens a file; everything else passes unchanged. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { threadId } from "node:worker_threads";

/** Each primary that was opened in this thread, and its replica. */
export const pairs = new Map<string, string>();

const directory = process.env["SUITE_REPLICAS"] ?? "";
/** In-memory databases get a file, too, so that more of a suite writes to copies. */
const filesOnly = process.env["SUITE_FILES_ONLY"] === "1";

export function attach<Class extends abstract new (...args: never[]) => object>(
  Ours: Class,
): Class {
  const attached = new Proxy(Ours, {
    construct(target, args, newTarget) {
      return Reflect.construct(target, withReplica(args), newTarget);
    },
    // better-sqlite3 may be called without `new`.
    apply(target, self, args) {
      return Reflect.apply(target as never, self, withReplica(args));
    },
  });
  // An instance names its class, as it would if the suite had imported ours itself.
  Reflect.defineProperty(Ours.prototype, "constructor", { value: attached });
  return attached;
}

function withReplica(args: unknown[]): unknown[] {
  const [given, options, ...rest] = args;
  const location = filesOnly && given === ":memory:" ? temporaryFile() : given;
  const file = fileOf(location);
  // Wrong options are the driver's to complain of.
  const fitting = options === undefined || (typeof options === "object" && options !== null);
  if (file === null || !fitting) return args;
  const replica = replicaOf(file);
  // The suites use a name again after they removed the file: then nothing is left of its replica.
  if (!existsSync(file)) removeCopy(replica);
  pairs.set(file, replica);
  return [location, { ...options, replicas: [replica] }, ...rest];
}

function temporaryFile(): string {
  return join(directory, `memory-${process.pid}-${threadId}-${pairs.size}.db`);
}

function fileOf(location: unknown): string | null {
  if (location instanceof URL)
    return location.protocol === "file:" ? fileURLToPath(location) : null;
  const path = location instanceof Uint8Array ? Buffer.from(location).toString() : location;
  if (typeof path !== "string" || path.trim() === "" || path.trim() === ":memory:") return null;
  return path.startsWith("file:") || path.includes("\0") ? null : resolve(path);
}

function replicaOf(file: string): string {
  return join(directory, `${createHash("sha1").update(file).digest("hex")}-${basename(file)}`);
}

function removeCopy(replica: string): void {
  for (const name of readdirSync(directory)) {
    if (name.startsWith(basename(replica))) rmSync(join(directory, name));
  }
}
