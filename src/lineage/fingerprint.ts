/**
 * Has a database file been written since we last knew what is in it?  One stat, no open: closing
 * any descriptor of a database file would drop the locks this process holds on it. To set a mark takes
 * a descriptor, for the mark must survive a power cut as the record does that names it.
 *
 * A modification time alone is too coarse: two writes within one tick of the kernel's clock share
 * it. So after each checkpoint the file's mtime is set to a moment that no later write can get by
 * itself, a second and some random microseconds ago, and that value is recorded.
 */
import fs from "node:fs";

export interface Fingerprint {
  readonly size: string;
  readonly mtimeNs: string;
  readonly inode: string;
}

/** The file's fingerprint, or null if there is no file. */
export function readFingerprint(path: string): Fingerprint | null {
  const stat = fs.statSync(path, { bigint: true, throwIfNoEntry: false });
  if (!stat) return null;
  return {
    size: String(stat.size),
    mtimeNs: String(stat.mtimeNs),
    inode: String(stat.ino),
  };
}

/**
 * Marks the file's mtime as ours, durably, and returns the fingerprint.
 * @param sync puts the file on stable storage, with its times
 * @param recorded what the record says: a file that still has it keeps it, for if the process dies
 *   before the next record is made, the old one must not have become untrue
 */
export function stampFingerprint(
  path: string,
  sync: () => void,
  recorded: Fingerprint | null = null,
): Fingerprint {
  const present = readFingerprint(path);
  if (present && recorded && sameFingerprint(present, recorded)) return present;
  const seconds = Date.now() / 1000 - 1 - Math.random();
  try {
    fs.utimesSync(path, seconds, seconds);
  } catch (error) {
    // A file system or owner that forbids it costs us the fine distinction, nothing else.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
  }
  sync(); // durable: the mark on the file
  const fingerprint = readFingerprint(path);
  if (!fingerprint) throw new Error(`${path} vanished while it was being stamped`);
  return fingerprint;
}

/** The same for a file that nobody in this process has open. */
export function stampUnused(path: string): Fingerprint {
  const fd = fs.openSync(path, "r");
  try {
    return stampFingerprint(path, () => fs.fsyncSync(fd));
  } finally {
    fs.closeSync(fd);
  }
}

export function sameFingerprint(a: Fingerprint, b: Fingerprint): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.inode === b.inode;
}
