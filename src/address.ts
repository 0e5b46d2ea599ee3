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
 */
import path from "node:path";

export const SETTINGS: readonly string[] = ["keys", "keep", "imageBytes", "allowUnsafe"];

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
  return `nats://${hosts.join(",")}/${name.join("/")}`;
}

/** What stands behind the question mark. */
export function settingsOf(address: string): URLSearchParams {
  return new URLSearchParams(/\?(.*)$/s.exec(address)?.[1] ?? "");
}
