/** What `GET /status.json` says, and every `snapshot` of `GET /events`: a replication at one moment. */
import { createRequire } from "node:module";
import type { LockstepError } from "../errors.ts";
import { type Percentiles, percentiles } from "../histogram.ts";
import type { ReplicaStatus, ReplicationHandle, ReplicationStatus } from "../observe.ts";
import type { Warning } from "../warning.ts";
import type { Recorder } from "./recorder.ts";

export interface Failure {
  readonly code: string;
  readonly what: string;
  readonly state: string;
  readonly next: string;
}

export interface SnapshotReplica {
  readonly path: string;
  /** Does no commit wait for it? */
  readonly asynchronous: boolean;
  readonly state: ReplicaStatus["state"];
  readonly position: string | null;
  readonly lag: { readonly frames: number; readonly bytes: number; readonly seconds: number };
  /** When it was last proven that it restores; ISO 8601, or null if never. */
  readonly lastProof: string | null;
  readonly lastError: Failure | null;
  /** Of the last minute, in milliseconds. */
  readonly syncMs: Percentiles;
  /** What may still be written to its file system; null if that is not known (yet). */
  readonly freeBytes: number | null;
}

/** Why it is not healthy. */
export interface Reason {
  /** A sentence without its full stop, as the next. */
  readonly what: string;
  /** What to do. */
  readonly next: string;
}

/** Ten seconds of the past. */
export interface Sample {
  /** When they ended; ISO 8601. */
  readonly at: string;
  readonly seconds: 10;
  readonly commits: number;
  readonly bytes: number;
  readonly commitMs: Percentiles;
  /** One a replica, in their order. */
  readonly syncMs: readonly Percentiles[];
  readonly logBytes: number;
}

export interface RecordedEvent {
  /** ISO 8601. */
  readonly at: string;
  readonly level: "info" | "warning" | "error";
  readonly what: string;
  readonly detail: string;
}

export interface Snapshot {
  /** ISO 8601. */
  readonly at: string;
  /** Lockstep's. */
  readonly version: string;
  readonly primary: {
    readonly path: string;
    readonly position: string;
    readonly logBytes: number;
    readonly logLimitBytes: number;
    /** For how long a reader has put the checkpoint off that is due; null if none does. */
    readonly oldestReaderMs: number | null;
    /** For how long the oldest transaction of this thread's connections is open; null if none is. */
    readonly openTransactionMs: number | null;
    /** What may still be written to its file system; null if that is not known (yet). */
    readonly freeBytes: number | null;
  };
  readonly replicas: readonly SnapshotReplica[];
  /** What fenced the connection, or null. */
  readonly failure: Failure | null;
  readonly healthy: boolean;
  /** Why it is not healthy. */
  readonly reasons: readonly Reason[];
  /** What is not wrong yet, and should be known. */
  readonly warnings: readonly Warning[];
  /** Since the database was opened, as the next two. */
  readonly commits: number;
  readonly bytes: number;
  readonly checkpoints: number;
  readonly ringBytes: number;
  readonly ringLimitBytes: number;
  /** The last hour, oldest first. */
  readonly history: readonly Sample[];
  /** The newest 200, oldest first. */
  readonly events: readonly RecordedEvent[];
}

export const { version } = createRequire(import.meta.url)("../../package.json") as {
  version: string;
};

export function snapshotOf(handle: ReplicationHandle, recorder: Recorder): Snapshot {
  const { status, metrics } = handle;
  const { logLimitBytes, oldestReaderMs, openTransactionMs, freeBytes } = metrics;
  const { ringBytes, ringLimitBytes, commits, bytes, checkpoints } = metrics;
  const { path, position, logBytes } = status.primary;
  const reasons = reasonsOf(status);
  return {
    at: new Date().toISOString(),
    version,
    primary: {
      ...{ path, position, logBytes, logLimitBytes },
      ...{ oldestReaderMs, openTransactionMs, freeBytes },
    },
    replicas: status.replicas.map((replica, i): SnapshotReplica => {
      const measured = metrics.replicas[i];
      const syncs = recorder.syncsOfLastMinute(i, metrics);
      return {
        path: replica.path,
        asynchronous: replica.asynchronous,
        state: replica.state,
        position: replica.position,
        lag: measured?.lag ?? { frames: replica.lag, bytes: 0, seconds: 0 },
        lastProof: recorder.proofs.of(replica.path),
        lastError: failureOf(replica.lastError),
        syncMs: syncs && percentiles(syncs),
        freeBytes: measured?.freeBytes ?? null,
      };
    }),
    failure: failureOf(status.failure),
    healthy: reasons.length === 0,
    reasons,
    warnings: status.warnings,
    commits,
    bytes,
    checkpoints,
    ringBytes,
    ringLimitBytes,
    history: recorder.history,
    events: recorder.events,
  };
}

/** Why it is not healthy; none: every copy that is waited for holds all that is acknowledged. */
export function reasonsOf({ failure, replicas, rot }: ReplicationStatus): Reason[] {
  const reasons: Reason[] = [];
  if (failure) {
    reasons.push({
      what: `Nothing more is acknowledged: ${failure.what}`,
      next: failure.next,
    });
  }
  for (const { path, state, lastError, asynchronous } of replicas) {
    if (state === "mirroring" || (asynchronous && state === "rejoining")) continue;
    const { is, next } = SAID[state];
    const what = `${path} is ${is}${lastError ? `: ${lastError.what}` : ""}`;
    reasons.push({ what, next: state === "failed" && lastError ? lastError.next : next });
  }
  for (const copy of new Set(rot.map((page) => page.copy))) {
    const pages = rot.filter((page) => page.copy === copy).length;
    const which = pages === 1 ? "a page that has" : `${pages} pages that have`;
    const next =
      "If it is not healed soon, run lockstep scrub with the paths of all copies: it says which can be";
    reasons.push({ what: `${copy} has ${which} rotted`, next });
  }
  return reasons;
}

const SAID = {
  failed: { is: "failed", next: "See what lockstep status says, then open the database again" },
  closed: { is: "closed", next: "Open the database again: nothing is replicated until then" },
  detached: {
    is: "detached, commits go on without it",
    next: "See that its disk is there, has room and answers: it is tried again by itself",
  },
  rejoining: {
    is: "rejoining, it may lack acknowledged commits",
    next: "Wait: it counts again by itself once it holds everything",
  },
} as const;

export function failureOf(error: LockstepError | null): Failure | null {
  if (!error) return null;
  const { code, what, state, next } = error;
  return { code, what, state, next };
}
