/**
 * Lockstep: synchronous replication for SQLite inside Node.js.
 *
 * A drop-in for `node:sqlite`. For better-sqlite3 see `lockstep/better-sqlite3`.
 */
import "./node-version.ts";
import type * as sqlite from "node:sqlite";
import { openReplica } from "./dropin/node-replica.ts";
import { backup, DatabaseSync, native } from "./dropin/node-sqlite.ts";
import { openStandby } from "./dropin/node-standby.ts";

export type { Replica as OpenReplica, ReplicaOptions } from "./dropin/node-replica.ts";
export type { DatabaseSyncConstructor, DatabaseSyncOptions } from "./dropin/node-sqlite.ts";
export type { Standby as OpenStandby, StandbyOptions } from "./dropin/node-standby.ts";
export { type Code, codes, LockstepError } from "./errors.ts";
export type { Latencies } from "./histogram.ts";
export type { ReplicaMetrics, ReplicationMetrics } from "./metrics.ts";
export type {
  DurableOptions,
  ReplicaStatus,
  ReplicationEvents,
  ReplicationHandle,
  ReplicationStatus,
} from "./observe.ts";
export type {
  Durability,
  Progress,
  Replica,
  ReplicaFailurePolicy,
  ReplicationOptions,
} from "./options.ts";
export type { ReachOptions } from "./replica/replica.ts";
export type { FollowProgress, FollowStatus } from "./standby/follow.ts";
export type { KeySource } from "./stream/keys.ts";
export type { Warning, WarningKind } from "./warning.ts";
export { backup, DatabaseSync, openReplica, openStandby };

export const StatementSync = native.StatementSync;
export type StatementSync = sqlite.StatementSync;
export const Session = (native as unknown as { Session: { readonly prototype: sqlite.Session } })
  .Session;
export type Session = sqlite.Session;
export const constants: typeof sqlite.constants = native.constants;

/** As the driver has one. */
export default { DatabaseSync, StatementSync, Session, constants, backup };
