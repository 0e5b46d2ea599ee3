/**
 * The options of a replicated database: what the two drop-ins accept beside the driver's own.
 */

export type Durability = "commit";
export type ReplicaFailurePolicy = "stop";

/** Progress of long work at the start; `bytesPerSecond` is the average since the phase began. */
export interface Progress {
  readonly phase: "copy" | "compare" | "delta" | "catch-up" | "sync";
  /** The copy that is being written or compared. */
  readonly path: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly bytesPerSecond: number;
}

export interface ReplicationOptions {
  /** Where the other copies live: file paths, or objects that name one. At least one. */
  replicas?: readonly (string | { readonly path: string })[];
  /** What a returning write means. Only `"commit"`: it is on stable storage in every copy. */
  durability?: Durability;
  /** What a failing replica does to commits. Only `"stop"`: the connection is fenced. */
  onReplicaFailure?: ReplicaFailurePolicy;
  /** How long a commit or a step of the start waits for a replica, in milliseconds. Default 60000. */
  replicaTimeout?: number;
  /** If the primary is missing or empty and a replica is not: restore it. Default false. */
  restoreMissing?: boolean;
  /** The size of the log, in bytes, from which it is checkpointed. Default 8 MiB. */
  checkpointBytes?: number;
  /** Called while long work is done at the start, in the constructor. */
  onProgress?: (progress: Progress) => void;
}

/** Checked, with the defaults filled in; replica paths absolute. */
export interface Replication {
  readonly replicas: readonly string[];
  readonly replicaTimeout: number;
  readonly restoreMissing: boolean;
  readonly checkpointBytes: number;
  readonly onProgress: ((progress: Progress) => void) | null;
}
