/**
 * Descriptors of `-shm` files, for reading: one a file and thread, whoever reads it, and never closed
 * while the file has a name. To close one would drop the locks that this process's connections have on it.
 */
import fs from "node:fs";

/** By device and inode. */
const descriptors = new Map<string, number>();

/** A descriptor of the `-shm` at `path`, which exists; it stays this module's. */
export function openShared(path: string): number {
  closeUnlinked();
  const { dev, ino } = fs.statSync(path);
  const known = descriptors.get(`${dev}:${ino}`);
  if (known !== undefined) return known;
  const fd = fs.openSync(path, "r");
  const opened = fs.fstatSync(fd);
  descriptors.set(`${opened.dev}:${opened.ino}`, fd);
  return fd;
}

/** SQLite unlinks a `-shm` with the last connection: then nobody has locks on it. */
function closeUnlinked(): void {
  for (const [key, fd] of descriptors) {
    if (fs.fstatSync(fd).nlink > 0) continue;
    descriptors.delete(key);
    fs.closeSync(fd);
  }
}
