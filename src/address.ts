/**
 * What names a stream, and may stand wherever a replica's path may: `nats://…` or `tls://…` for a NATS JetStream
 * stream, `archive:` and a path for a directory. Settings follow behind a question mark.
 *
 *     nats://host:4222,host2:4222/NAME?creds=FILE     see stream/nats-url.ts
 *     archive:/mnt/usb/app?keys=FILE                  see stream/archive.ts
 *
 * The settings of both:
 *
 *     keys=FILE or env:NAME   what leaves the process is sealed with these keys (stream/keys.ts)
 *     keep=7d                 to each moment of so many days, hours (h) or minutes (m) it can be restored
 *     imageBytes=N            a whole image is made anew when so much was committed since the last one
 *     allowUnsafe=a,b         accepts by name what cannot keep the promise (stream/nats-admin.ts)
 *     async=1                 of an archive: no commit waits for it, and it is not counted (gate/along.ts)
 */
import path from "node:path";
import { codes, LockstepError } from "./errors.ts";

export const SETTINGS: readonly string[] = ["keys", "keep", "imageBytes", "allowUnsafe", "async"];

/** Is this a stream, and no file? */
export function isStream(replica: string): boolean {
  return /^(nats|tls|archive):/i.test(replica);
}

/** The directory of an archive; null if it is none. */
export function archiveDirectory(address: string): string | null {
  const match = /^archive:([^?]*)/i.exec(address);
  return match ? (match[1] as string) : null;
}

/** The same address, whatever the working directory becomes. */
export function absoluteAddress(address: string): string {
  const directory = archiveDirectory(address);
  if (directory === null) return address;
  return `archive:${path.resolve(directory)}${/\?.*$/s.exec(address)?.[0] ?? ""}`;
}

/** What a stream is called where people read: its address without user, password and settings. */
export function streamName(address: string): string {
  const directory = archiveDirectory(address);
  if (directory !== null) return `archive:${directory}`;
  const before = address.replace(/\?.*$/s, "").replace(/^\w+:\/\//, "");
  const [servers = "", ...name] = before.slice(before.lastIndexOf("@") + 1).split("/");
  const hosts = servers.split(",").map((host) => (/:\d+$/.test(host) ? host : `${host}:4222`));
  // A user or password with a "?" that is not escaped: what stands before that may be half of it.
  const isDoubtful = !before.includes("@") && address.slice(before.length).includes("@");
  const areHosts = hosts.every((host) => /^(\[[\da-f:.]+\]|[\w.-]+):\d+$/i.test(host));
  if (isDoubtful || !areHosts || name.length !== 1) return "nats://…";
  return `nats://${hosts.join(",")}/${name[0]}`;
}

/**
 * What stands behind the question mark, by name. What is not of any stream's is left to those who know servers.
 * @throws LockstepError BAD_OPTION if an archive's has a name that is not known, or one of these is empty or given twice
 */
export function settingsOf(address: string): ReadonlyMap<string, string> {
  const query = /\?(.*)$/s.exec(address)?.[1] ?? "";
  const isArchive = archiveDirectory(address) !== null;
  const settings = new Map<string, string>();
  for (const part of query === "" ? [] : query.split("&")) {
    const equals = part.indexOf("=");
    const name = equals < 0 ? part : part.slice(0, equals);
    if (!SETTINGS.includes(name)) {
      // Not what stands there: that may be half of a secret.
      if (isArchive) throw badSetting(`there is a setting that is none of ${SETTINGS.join(", ")}`);
      continue;
    }
    const value = decode(part.slice(name.length + 1));
    if (value === null || value === "") throw badSetting(`\`${name}\` is empty, or malformed`);
    if (settings.has(name)) throw badSetting(`\`${name}\` is given twice`);
    settings.set(name, value);
  }
  return settings;
}

/**
 * Is this a stream that no commit waits for?
 * @throws LockstepError BAD_OPTION, as `settingsOf`
 */
export function isAsynchronous(replica: string): boolean {
  const value = isStream(replica) ? settingsOf(replica).get("async") : undefined;
  if (value === undefined || value === "0") return false;
  if (value === "1" && archiveDirectory(replica) === null) {
    throw badSetting("`async=1` stands for an archive only");
  }
  if (value === "1") return true;
  throw badSetting("`async` is neither 1 nor 0");
}

/** The same stream, waited for. */
export function waitedFor(replica: string): string {
  return isAsynchronous(replica) ? replica.replace(/([?&]async=)[^&]*/, "$10") : replica;
}

/** A text that may hold the address of a stream, without what may be secret in one. */
export function masked(text: string): string {
  return text.replace(/:\/\/.*@/s, "://…@").replace(/(:\/\/[^?]*)\?.*/s, "$1?…");
}

// --- internal ---

function decode(value: string): string | null {
  try {
    return decodeURIComponent(value);
  } catch {
    return null;
  }
}

function badSetting(what: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `In the address of a stream ${what}`,
    state: "Nothing was opened",
    next: "Correct what stands behind the question mark: see docs/stream.md",
  });
}
