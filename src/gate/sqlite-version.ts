/** Versions of SQLite that can lose commits. Which bug the driver's has is said once. */

/** @param version as `sqlite_version()` says it */
export function warnOfVersion(version: string, driver: string): void {
  for (const { code, since, also = [], loses } of BUGS) {
    const isMended = [since, ...also].some((first) => hasFix(version, first, first === since));
    if (warned.has(code) || isMended) continue;
    warned.add(code);
    const mended = [since, ...also].join(", or ");
    process.emitWarning(
      `${driver} brings SQLite ${version}, in which ${loses}. Mended in ${mended}`,
      { type: "LockstepWarning", code },
    );
  }
}

// --- internal ---

const warned = new Set<string>();

interface Bug {
  readonly code: string;
  /** The first version without it, and the first of older series. */
  readonly since: string;
  readonly also?: readonly string[];
  readonly loses: string;
}

const BUGS: readonly Bug[] = [
  {
    // sqlite.org/wal.html, "the WAL-reset bug". Lockstep's own order of locks keeps clear of it.
    code: "LOCKSTEP_WAL_RESET_BUG",
    since: "3.51.3",
    also: ["3.50.7", "3.44.6"],
    loses:
      "commits can be lost if other programs write and checkpoint this database, too (the WAL-reset bug)",
  },
  {
    // Frames without checksums (wal/format.ts). The gate sees them.
    code: "LOCKSTEP_UNSUMMED_BUG",
    since: "3.50.2",
    loses:
      "a large transaction that rolls back to a savepoint may be committed in a way that a crash loses; " +
      "Lockstep refuses it: ERR_LOCKSTEP_PRIMARY_UNSUMMED",
  },
];

/** @param isLatest do later series have it, too? */
function hasFix(version: string, first: string, isLatest: boolean): boolean {
  const isSeries = version.split(".")[1] === first.split(".")[1];
  return (isLatest || isSeries) && version.localeCompare(first, "en", { numeric: true }) >= 0;
}
