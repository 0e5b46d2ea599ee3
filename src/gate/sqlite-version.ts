/**
 * SQLite before 3.51.3, except 3.50.7 and 3.44.6, can lose commits when two connections write and
 * checkpoint one database at the same moment (sqlite.org/wal.html, "the WAL-reset bug"). Lockstep's
 * own order of locks keeps clear of it; other programs on the same file do not. Said once.
 */
let warned = false;

export function warnOfWalReset(version: string, driver: string): void {
  if (warned || !hasWalResetBug(version)) return;
  warned = true;
  process.emitWarning(
    `${driver} brings SQLite ${version}, which has the WAL-reset bug: if other programs write ` +
      "this database too, commits can be lost. SQLite 3.51.3, 3.50.7 and 3.44.6 do not have it",
    { type: "LockstepWarning", code: "LOCKSTEP_WAL_RESET_BUG" },
  );
}

/** @param version as `sqlite_version()` says it */
export function hasWalResetBug(version: string): boolean {
  if (version === "3.50.7" || version === "3.44.6") return false;
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  return major < 3 || (major === 3 && (minor < 51 || (minor === 51 && patch < 3)));
}
