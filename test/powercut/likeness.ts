/** Which states are equal: in all bytes and names, and in what Lockstep's records can tell of times. */
import { createHash, hash } from "node:crypto";
import type { Remains, Wreck } from "./disks.ts";

/** The same for equal ones. */
export function digestOfAll(wreck: Wreck): string {
  const all = createHash("sha1");
  for (const path of [...wreck.keys()].sort()) {
    const remains = wreck.get(path) as Remains;
    all.update(`${path} ${markOf(path, remains, wreck)} ${digestOf(remains)}\n`);
  }
  return all.digest("base64");
}

// --- internal ---

/** Files that nothing is pending of are left by many cuts. */
const digests = new WeakMap<Uint8Array, string>();

function digestOf({ bytes }: Remains): string {
  const known = digests.get(bytes) ?? hash("sha1", bytes, "base64");
  digests.set(bytes, known);
  return known;
}

/**
 * The file's time, if a record beside it may have it as the mark of a file that was not written since;
 * else nobody can tell it from another (layout.ts gives the file a new one).
 */
function markOf(path: string, { mtimeNs }: Remains, wreck: Wreck): string {
  const mark = String(mtimeNs);
  const records = ["", "-journal", "-amended"].map((suffix) => `${path}-lockstep${suffix}`);
  const isRecorded = records.some((record) => {
    const { bytes } = wreck.get(record) ?? {};
    return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(mark);
  });
  return isRecorded ? mark : "";
}
