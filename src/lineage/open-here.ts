/**
 * Has this process opened a file already? Two SQLite libraries in one process do not see each other's
 * locks, and closing a second descriptor of a file drops those that were taken through the first.
 */
import fs from "node:fs";

const DESCRIPTORS = "/proc/self/fd";

/** A descriptor of the file that this process has already, of whatever thread; null: none known. */
export function descriptorHere(path: string): number | null {
  if (!fs.existsSync(DESCRIPTORS)) return null; // known on Linux only
  const found = fs.readdirSync(DESCRIPTORS).find((fd) => {
    try {
      return fs.readlinkSync(`${DESCRIPTORS}/${fd}`) === path;
    } catch {
      return false; // closed meanwhile, for instance that of the directory itself
    }
  });
  return found === undefined ? null : Number(found);
}
