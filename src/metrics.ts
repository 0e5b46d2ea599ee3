/** What a replication has counted: `db.replication.metrics`. Units stand in the names, or beside them. */
import type { Latencies } from "./histogram.ts";

/** Counted since the database was opened, unless it says "now". */
export interface ReplicationMetrics {
  /** Transactions that were handed to the replicas; other programs' too. */
  readonly commits: number;
  /** Bytes of log that were handed to each replica for them. */
  readonly bytes: number;
  /** Checkpoints that were done: every copy's file held all of the log. */
  readonly checkpoints: number;
  /** Checkpoints that were put off, because somebody reads. */
  readonly checkpointsPostponed: number;
  /**
   * How long commits waited. With durability `commit` from SQLite's return to the write's, one each;
   * with `barrier` how long the first caller of each round waited for `durable()`, so no caller longer.
   */
  readonly commitLatency: Latencies;
  /** Bytes in the ring, now, that the slowest replica has not synced yet. */
  readonly ringBytes: number;
  /** The size of the ring, in bytes. */
  readonly ringLimitBytes: number;
  /** How often a commit had to wait because a replica was a whole ring behind. */
  readonly ringWaits: number;
  /** The primary's log up to its last commit, now, in bytes; 0 after a failure or a close. */
  readonly logBytes: number;
  /** How large the log may get while it is folded: beyond, one large transaction or a reader is the reason. */
  readonly logLimitBytes: number;
  /** How long ago the checkpoint was first put off that is still outstanding, in milliseconds; or null. */
  readonly oldestReaderMs: number | null;
  /** For how long the oldest transaction of the thread's connections has been open, in milliseconds; or null. */
  readonly openTransactionMs: number | null;
  /** What may still be written to the primary's file system, in bytes; null if that is not known (yet). */
  readonly freeBytes: number | null;
  /** In the order of `status.replicas`. */
  readonly replicas: readonly ReplicaMetrics[];
}

export interface ReplicaMetrics {
  readonly path: string;
  /** What it is not known to hold, now. */
  readonly lag: {
    /** Committed frames, as `status` has them. */
    readonly frames: number;
    /** What these take in the log. */
    readonly bytes: number;
    /** How long ago the first of them was committed, or the replica detached; 0 if it lacks nothing. */
    readonly seconds: number;
  };
  /** What may still be written to its file system, in bytes; null if that is not known (yet). */
  readonly freeBytes: number | null;
  /** How long its syncs took, each with what makes the frames visible to readers. */
  readonly syncLatency: Latencies;
}
