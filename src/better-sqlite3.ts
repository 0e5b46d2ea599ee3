/**
 * Lockstep for better-sqlite3: `import Database from "lockstep/better-sqlite3"`.
 */
import "./node-version.ts";
import { openReplica } from "./dropin/better-replica.ts";
import { DropIn } from "./dropin/better-sqlite3.ts";
import type * as types from "./dropin/better-sqlite3-types.ts";
import { openStandby } from "./dropin/better-standby.ts";

/** The driver's class, with Lockstep's options and the property `replication`. */
const Database: types.DatabaseConstructor = DropIn;

/** Its types, under the names that they have in the driver's. */
declare namespace Database {
  export type Database = types.Database;
  export type Statement<
    // biome-ignore lint/complexity/noBannedTypes: as in the driver's types
    BindParameters extends unknown[] | {} = unknown[],
    Result = unknown,
  > = types.StatementFor<BindParameters, Result>;
  export type Transaction<F extends types.AnyFunction = types.AnyFunction> = types.Transaction<F>;
  export type Options = types.Options;
  export type RunResult = types.RunResult;
  export type ColumnDefinition = types.ColumnDefinition;
  export type PragmaOptions = types.PragmaOptions;
  export type SerializeOptions = types.SerializeOptions;
  export type RegistrationOptions = types.RegistrationOptions;
  export type AggregateOptions = types.AggregateOptions;
  export type BackupMetadata = types.BackupMetadata;
  export type BackupOptions = types.BackupOptions;
  export type SqliteError = types.SqliteErrorConstructor;
}

export default Database;
export const { SqliteError } = Database;
export type { Replica as OpenReplica, ReplicaOptions } from "./dropin/better-replica.ts";
export type { Standby as OpenStandby, StandbyOptions } from "./dropin/better-standby.ts";
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
// What `require()` returns is the class itself, as from the driver.
export { Database as "module.exports", openReplica, openStandby };
