/**
 * A log without its file belongs to nothing, but SQLite would replay it over whatever file appears
 * there next. It is set aside under a dated name, not deleted.
 */
import fs from "node:fs";

/** Clears the place beside a database file that does not exist yet. */
export function moveStrayLogs(copy: string): void {
  const date = new Date().toISOString().replace(/[:.]/g, "-");
  for (const suffix of ["-wal", "-journal"]) {
    if (!fs.existsSync(`${copy}${suffix}`)) continue;
    fs.renameSync(`${copy}${suffix}`, `${copy}.set-aside-${date}${suffix}`);
  }
  fs.rmSync(`${copy}-shm`, { force: true });
}
