/** Names on stable storage. Imports nothing of ours: the processes that copy whole files start fast. */
import fs from "node:fs";

/** Makes created, renamed and unlinked names in a directory durable. */
export function syncDirectory(directory: string): void {
  const fd = fs.openSync(directory, "r");
  try {
    fs.fsyncSync(fd); // durable: names
  } finally {
    fs.closeSync(fd);
  }
}
