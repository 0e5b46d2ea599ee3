/** Lays the remains of a power cut out as files. */
import fs from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Fingerprint, readFingerprint } from "../../src/lineage/fingerprint.ts";
import type { Remains, Wreck } from "./disks.ts";

/** @param disks the ones that can still be read */
export function layOut(wreck: Wreck, root: string, disks: readonly string[]): void {
  for (const disk of disks) fs.mkdirSync(join(root, disk), { recursive: true });
  for (const [path, { bytes }] of wreck) {
    if (disks.includes(dirname(path))) fs.writeFileSync(join(root, path), bytes);
  }
  for (const [path, remains] of wreck) {
    if (disks.includes(dirname(path)) && wreck.has(`${path}-lockstep`))
      keepFingerprint(root, path, remains);
  }
}

/**
 * A file that is laid out here has another inode than the one it was recorded as. Where the record beside
 * it knows that one, unchanged, it is told the new one.
 */
function keepFingerprint(root: string, path: string, { bytes, mtimeNs, inode }: Remains): void {
  let record: DatabaseSync | null = null;
  try {
    record = new DatabaseSync(join(root, `${path}-lockstep`));
    const row = record.prepare("SELECT value FROM state WHERE key = 'folded'").get();
    const folded = row ? JSON.parse(String(row["value"])) : null;
    const was: Fingerprint = {
      size: String(bytes.length),
      mtimeNs: String(mtimeNs),
      inode: String(inode),
    };
    if (folded === null || JSON.stringify(folded.file) !== JSON.stringify(was)) return;
    const value = JSON.stringify({ ...folded, file: readFingerprint(join(root, path)) });
    record.prepare("UPDATE state SET value = ? WHERE key = 'folded'").run(value);
  } catch {
    // A record that cannot be read is for the start to judge.
  } finally {
    record?.close();
  }
}
