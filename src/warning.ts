/**
 * What is not wrong yet, and should be known: replication goes on, and no promise is broken. Each warning is
 * told once when it begins and once when it is over.
 */

export type WarningKind =
  /** A transaction has been open for longer than `openTransactionMs`. */
  | "open-transaction"
  /** The primary's log is larger than it gets while nothing is in the way. */
  | "large-log"
  /** The file system of a copy has less than `lowSpaceBytes` left. */
  | "low-space"
  /** A replica, an archive too, is on the primary's disk. */
  | "same-disk"
  /** A copy is on a file system whose fsync is another machine's, or a program's. */
  | "remote-disk"
  /** A copy is on a file system that goes with the machine's memory, or with a container. */
  | "no-disk"
  /** A stream cannot keep all that it acknowledges, and that was accepted by name (`allowUnsafe`). */
  | "unsafe-stream"
  /** Rot is to be looked for (`scrubBytesPerSecond`), and is not: that process ended, or could not be begun. */
  | "no-scrub";

export interface Warning {
  readonly kind: WarningKind;
  /** The path of the copy concerned. */
  readonly copy: string;
  /** Since when, as far as it was seen; ISO 8601. */
  readonly since: string;
  /** A sentence for people, without its full stop. */
  readonly what: string;
  /** What to do. */
  readonly next: string;
  /** Of a transaction of this process: where the application began it, as a stack has it; else null. */
  readonly stack: string | null;
}

/** Of a replicated connection: a transaction that a statement left open. */
export interface OpenTransaction {
  /** When, by the monotonic clock (`performance.now()`); or when it was first seen. */
  readonly begunAt: number;
  /** The SQL that began it, shortened; null if that was not seen. */
  readonly statement: string | null;
  /** Where the application was then; null if that was not kept. */
  readonly stack: string | null;
}
