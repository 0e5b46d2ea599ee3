/**
 * What an application sees of its replication: `db.replication`.
 */
import { EventEmitter } from "node:events";
import { channels } from "./channels.ts";
import type { LockstepError } from "./errors.ts";
import type { ReplicationMetrics } from "./metrics.ts";
import type { Warning } from "./warning.ts";

export interface ReplicaStatus {
  readonly path: string;
  /** What its record calls this copy, as long as it lasts; null while that is not known, and of a stream. */
  readonly copyId: string | null;
  /** Is it a stream that no commit waits for (`async=1`)? It lacks the last `lag` frames then. */
  readonly asynchronous: boolean;
  /**
   * "mirroring": holds every acknowledged commit. "failed": see `lastError`; nothing is acknowledged.
   * With `onReplicaFailure: "degrade"` also "detached": commits go on without it; "rejoining": they wait
   * for it again, but it may lack some that were acknowledged before. An asynchronous stream is
   * "mirroring" while it takes along what is committed, "rejoining" until it first has all, "detached" if it failed.
   */
  readonly state: "mirroring" | "failed" | "closed" | "detached" | "rejoining";
  /**
   * What it is known to hold, durably: `timeline/generation/frame/checksum`; null if it failed, or was
   * detached before the database was opened.
   */
  readonly position: string | null;
  /** Committed frames it is not known to hold; with durability `commit` 0 between commits. */
  readonly lag: number;
  /** What it failed with; of a detached one, why it has not come back yet. */
  readonly lastError: LockstepError | null;
}

export interface ReplicationStatus {
  readonly primary: {
    readonly path: string;
    /** What was handed to the replicas; with `barrier` it may lag behind what is committed. */
    readonly position: string;
    /** Of the log up to its last commit; 0 after a failure or a close. */
    readonly logBytes: number;
  };
  readonly replicas: readonly ReplicaStatus[];
  /** How often a commit had to wait because a replica was a whole ring of frames behind. */
  readonly waits: number;
  /** Pages that were found rotten since the database was opened, and are not healed; see `scrubBytesPerSecond`. */
  readonly rot: readonly LivePage[];
  /** How many were found, and are healed. */
  readonly healed: number;
  /** What is not wrong yet, and should be known; in the order in which it was found. */
  readonly warnings: readonly Warning[];
  /** What fenced the connection, or null. */
  readonly failure: LockstepError | null;
}

/** A page that has rotted in one copy. It is healed if another copy has it; else see `lockstep scrub`. */
export interface LivePage {
  /** The copy's path. */
  readonly copy: string;
  /** Its number, from 1. */
  readonly page: number;
  /** The table or index it belongs to, "(free list)" or "(pointer map)"; null if that is not known. */
  readonly owner: string | null;
}

export interface HealedPage extends LivePage {
  /** The path of the copy that it was healed from; null if a commit of the application has written it anew. */
  readonly healedFrom: string | null;
}

export interface ReplicationEvents {
  /** The connection is fenced: nothing more is acknowledged. Emitted once. */
  failed: [error: LockstepError];
  /** From now on commits go on without this replica; it is on record. Or an asynchronous stream has failed. */
  degraded: [path: string, error: LockstepError];
  /** The replica holds all again: no commit is acknowledged without it. */
  rejoined: [path: string];
  /** A page of a copy is not as it was written. Nothing was changed, and nothing is held up. */
  rot: [page: LivePage];
  /** The page is in every copy's log as it was written, durably; the next checkpoint puts it into the files. */
  healed: [page: HealedPage];
  /** Every copy's file holds all of the log, which now starts anew. */
  checkpoint: [];
  /** A checkpoint was put off, for so many milliseconds now; the log grows until the next try. */
  "checkpoint-postponed": [because: string, sinceMs: number];
  /** Something should be known: it is told once, and is in `status.warnings` until it is over. */
  warning: [warning: Warning];
  /** What was warned of is over. */
  "warning-over": [warning: Warning];
}

/** The replication of one database; shared by all connections of this thread to the same primary. */
export class ReplicationHandle extends EventEmitter<ReplicationEvents> {
  readonly #source: Source;

  /** @internal */
  constructor(source: Source) {
    super();
    this.#source = source;
  }

  /** What listeners are told, subscribers of the channels are told as well. @internal */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    const name = event as keyof ReplicationEvents;
    if (channels[name]?.hasSubscribers) {
      const message = (MESSAGES[name] as (...args: unknown[]) => object)(...args);
      channels[name].publish({ primary: this.status.primary.path, ...message });
    }
    return super.emit(name, ...(args as never));
  }

  /** Every copy: state, position, lag, last error. Reads no file but the shared index of the log. */
  get status(): ReplicationStatus {
    return this.#source.status();
  }

  /**
   * What was counted and measured since the database was opened: commits, bytes, latencies, lag. Reads no
   * file but the shared index of the log; costs some microseconds, for whoever asks.
   */
  get metrics(): ReplicationMetrics {
    return this.#source.metrics();
  }

  /**
   * Resolves with the position when everything committed before the call is on stable storage in
   * every copy. Callers at the same time share one sync. With durability `commit` it is so already
   * when a write returns.
   *
   * Rejects with the error that fenced the connection: then it will not be known to be durable
   * before the database is reopened. With ERR_LOCKSTEP_DEADLINE, or the signal's reason, if the
   * caller would not wait longer: the sync goes on, and asking again tells.
   */
  durable(options?: DurableOptions): Promise<string> {
    return this.#source.durable(options);
  }

  /**
   * The same, blocking.
   * @param timeout in milliseconds; default: as long as `replicaTimeout` allows
   * @throws LockstepError what fenced the connection; DEADLINE
   */
  durableSync({ timeout }: { readonly timeout?: number | undefined } = {}): string {
    return this.#source.durableSync(timeout);
  }
}

/** What a message on the channel of an event's name has, besides the primary. */
const MESSAGES: {
  readonly [Name in keyof ReplicationEvents]: (...args: ReplicationEvents[Name]) => object;
} = {
  failed: (error) => ({ error }),
  degraded: (replica, error) => ({ replica, error }),
  rejoined: (replica) => ({ replica }),
  rot: (page) => page,
  healed: (page) => page,
  checkpoint: () => ({}),
  "checkpoint-postponed": (because, sinceMs) => ({ because, sinceMs }),
  warning: (warning) => warning,
  "warning-over": (warning) => warning,
};

/** What the handle shows, and how it waits: the hub's doing. */
export interface Source {
  status(): ReplicationStatus;
  metrics(): ReplicationMetrics;
  durable(options: DurableOptions | undefined): Promise<string>;
  durableSync(timeout: number | undefined): string;
}

/** How long a caller of `durable()` is willing to wait. */
export interface DurableOptions {
  /** Stops waiting, not the sync: rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Stops waiting after so many milliseconds. Default: as long as `replicaTimeout` allows. */
  readonly timeout?: number | undefined;
}
