/**
 * What an application sees of its replication: `db.replication`.
 */
import { EventEmitter } from "node:events";
import type { LockstepError } from "./errors.ts";

export interface ReplicaStatus {
  readonly path: string;
  /** "mirroring": holds every acknowledged commit. "failed": see `lastError`; nothing is acknowledged. */
  readonly state: "mirroring" | "failed" | "closed";
  /** What it holds, durably: `timeline/generation/frame/checksum`; null if it failed. */
  readonly position: string | null;
  /** Committed frames it is not known to hold; 0 between commits. */
  readonly lag: number;
  readonly lastError: LockstepError | null;
}

export interface ReplicationStatus {
  readonly primary: { readonly path: string; readonly position: string; readonly logBytes: number };
  readonly replicas: readonly ReplicaStatus[];
  /** What fenced the connection, or null. */
  readonly failure: LockstepError | null;
}

export interface ReplicationEvents {
  /** The connection is fenced: nothing more is acknowledged. Emitted once. */
  failed: [error: LockstepError];
  /** Every copy's file holds all of the log, which now starts anew. */
  checkpoint: [];
  /** A checkpoint was put off; the log grows until the next try. */
  "checkpoint-postponed": [because: string];
}

/** The replication of one database; shared by all connections of this thread to the same primary. */
export class ReplicationHandle extends EventEmitter<ReplicationEvents> {
  readonly #status: () => ReplicationStatus;
  readonly #durable: () => string;

  /** @internal */
  constructor(status: () => ReplicationStatus, durable: () => string) {
    super();
    this.#status = status;
    this.#durable = durable;
  }

  /** Every copy: state, position, lag, last error. Reads no file but the shared index of the log. */
  get status(): ReplicationStatus {
    return this.#status();
  }

  /**
   * Resolves with the position when everything committed before the call is on stable storage in
   * every copy. With durability `commit` that is so already when a write returns.
   * Rejects with the error that fenced the connection.
   */
  async durable(): Promise<string> {
    return this.#durable();
  }
}
