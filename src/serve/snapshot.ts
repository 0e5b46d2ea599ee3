/** What `GET /status.json` says, and every `snapshot` of `GET /events`: a replication at one moment. */
import { createRequire } from "node:module";
import type { LockstepError } from "../errors.ts";
import { type Percentiles, percentiles } from "../histogram.ts";
import type { ReplicaStatus, ReplicationHandle, ReplicationStatus } from "../observe.ts";
import type { Recorder } from "./recorder.ts";

export interface Failure {
  readonly code: string;
  readonly what: string;
  readonly state: string;
  readonly next: string;
}

export interface SnapshotReplica {
  readonly path: string;
  readonly state: ReplicaStatus["state"];
  readonly position: string | null;
  readonly lag: { readonly frames: number; readonly bytes: number; readonly seconds: number };
  /** When it was last proven that it restores; ISO 8601, or null if never. */
  readonly lastProof: string | null;
  readonly lastError: Failure | null;
  /** Of the last minute, in milliseconds. */
  readonly syncMs: Percentiles;
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
  };
  readonly replicas: readonly SnapshotReplica[];
  /** What fenced the connection, or null. */
  readonly failure: Failure | null;
  readonly healthy: boolean;
  /** Why it is not healthy, a sentence each. */
  readonly reasons: readonly string[];
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
  const { logLimitBytes, oldestReaderMs, ringBytes, ringLimitBytes } = metrics;
  const { commits, bytes, checkpoints } = metrics;
  const { path, position, logBytes } = status.primary;
  const reasons = reasonsOf(status);
  return {
    at: new Date().toISOString(),
    version,
    primary: { path, position, logBytes, logLimitBytes, oldestReaderMs },
    replicas: status.replicas.map((replica, i): SnapshotReplica => {
      const measured = metrics.replicas[i];
      const syncs = recorder.syncsOfLastMinute(i, metrics);
      return {
        path: replica.path,
        state: replica.state,
        position: replica.position,
        lag: measured?.lag ?? { frames: replica.lag, bytes: 0, seconds: 0 },
        lastProof: recorder.proofs.of(replica.path),
        lastError: failureOf(replica.lastError),
        syncMs: syncs && percentiles(syncs),
      };
    }),
    failure: failureOf(status.failure),
    healthy: reasons.length === 0,
    reasons,
    commits,
    bytes,
    checkpoints,
    ringBytes,
    ringLimitBytes,
    history: recorder.history,
    events: recorder.events,
  };
}

/** Why it is not healthy; none: every copy holds all that is acknowledged. */
export function reasonsOf({ failure, replicas, rot }: ReplicationStatus): string[] {
  const reasons = failure ? [`Nothing more is acknowledged: ${failure.what}`] : [];
  for (const { path, state, lastError } of replicas) {
    const why = lastError ? `: ${lastError.what}` : "";
    if (state !== "mirroring") reasons.push(`${path} is ${SAID[state]}${why}`);
  }
  for (const copy of new Set(rot.map((page) => page.copy))) {
    const pages = rot.filter((page) => page.copy === copy).length;
    reasons.push(
      `${copy} has ${pages === 1 ? "a page that has" : `${pages} pages that have`} rotted`,
    );
  }
  return reasons;
}

const SAID = {
  failed: "failed",
  closed: "closed",
  detached: "detached, commits go on without it",
  rejoining: "rejoining, it may lack acknowledged commits",
} as const;

export function failureOf(error: LockstepError | null): Failure | null {
  if (!error) return null;
  const { code, what, state, next } = error;
  return { code, what, state, next };
}
