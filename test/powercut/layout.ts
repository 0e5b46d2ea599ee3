/** Lays the remains of a power cut out as files. */
import fs from "node:fs";
import { dirname, join } from "node:path";
import { keepFingerprint } from "../support/files.ts";
import type { Wreck } from "./disks.ts";

/** @param disks the ones that can still be read */
export function layOut(wreck: Wreck, root: string, disks: readonly string[]): void {
  for (const disk of disks) fs.mkdirSync(join(root, disk), { recursive: true });
  for (const [path, { bytes }] of wreck) {
    if (disks.includes(dirname(path))) fs.writeFileSync(join(root, path), bytes);
  }
  for (const [path, { bytes, mtimeNs, inode }] of wreck) {
    if (!disks.includes(dirname(path)) || !wreck.has(`${path}-lockstep`)) continue;
    const was = { size: String(bytes.length), mtimeNs: String(mtimeNs), inode: String(inode) };
    try {
      keepFingerprint(join(root, path), was);
    } catch {
      // A record that cannot be read is for the start to judge.
    }
  }
}
