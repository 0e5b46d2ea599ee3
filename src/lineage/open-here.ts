/**
 * Has this process opened a file already? Two SQLite libraries in one process do not see each other's
 * locks, and closing a second descriptor would drop those of the first. Known on Linux only.
 */
import fs from "node:fs";

export function isOpenHere(path: string): boolean {
  const descriptors = "/proc/self/fd";
  if (!fs.existsSync(descriptors)) return false;
  return fs.readdirSync(descriptors).some((fd) => {
    try {
      return fs.readlinkSync(`${descriptors}/${fd}`) === path;
    } catch {
      return false; // closed meanwhile, for instance that of the directory itself
    }
  });
}
