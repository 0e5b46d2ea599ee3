/**
 * Why a test of a driver's own suite cannot pass with a replica attached. Each entry says what the
 * test's name and its error match, and which promise of ours the test goes against.
 */
const reasons: readonly (readonly [test: RegExp, error: RegExp, reason: string])[] = [
  [
    /#pragma\(\)/,
    /expected 'wal' to equal 'delete'/,
    "it expects a rollback journal; a replicated database is in WAL mode",
  ],
  [
    /#unsafeMode\(\)/,
    /PRAGMA journal_mode = off is refused/,
    "it switches the journal off; that is Lockstep's (ERR_LOCKSTEP_OWNED)",
  ],
  [
    /ends with exit code 0/,
    /-lockstep, cannot be used: it was removed or replaced while it was in use/,
    "it leaves a database open and removes its directory: if that was not collected before the exit, the close there says so",
  ],
  [
    /throws if the lock cannot be acquired before timeout/,
    /PRAGMA locking_mode = exclusive is refused/,
    "it locks out everybody else, the mirror too; that is Lockstep's (ERR_LOCKSTEP_OWNED)",
  ],
  [
    /wal_checkpoint\(RESTART\).*should NOT increase the size of the WAL file/,
    /AssertionError: expected \d+ to equal \d+/,
    "it restarts the log by a pragma; Lockstep lets it restart when every copy holds all of it",
  ],
  [
    /wal_checkpoint\(RESTART\).*increase the size of the WAL file/,
    /AssertionError: expected (\d+) to be above \1/,
    "it looks at the size of the log's file, which is grown ahead of the log's end",
  ],
  [
    /#serialize\(\) should return a buffer that can be/,
    /unable to open database file/,
    "SQLite opens no in-memory image of a file in WAL mode; the original does not, either",
  ],
  [
    /Worker Threads|applyChangeset with workers/,
    /has this copy in use/,
    "a second thread opens the same primary: ERR_LOCKSTEP_LOCKED",
  ],
  [
    /test-sqlite-database-sync\.js › ends with exit code 0/,
    /ENOENT.*utime/,
    "it removes the directory of a database that is still open; the close at exit complains",
  ],
  // With --files-only.
  [
    /defensive mode|returns null when connected to in-memory database/,
    /'wal' !== 'memory'|memory-\d/,
    "it asks whether the database is in memory",
  ],
  [
    /test-sqlite-template-tag\.js › ends with exit code 0/,
    /^/,
    "it opens 1000 databases and closes none: each keeps its threads until it is closed",
  ],
];

export function reasonFor(test: string, error: string): string | null {
  return reasons.find(([title, text]) => title.test(test) && text.test(error))?.[2] ?? null;
}
