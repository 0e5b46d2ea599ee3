/** What `db.replication.metrics` says. */
import type { ReplicationMetrics } from "../metrics.ts";
import type { ReplicationStatus } from "../observe.ts";
import { frameSize } from "../wal/format.ts";
import type { Watcher } from "../watch/watcher.ts";
import type { Checkpointer } from "./checkpoint.ts";
import type { Gate } from "./gate.ts";
import type { Primary } from "./primary.ts";
import type { Roster } from "./roster.ts";
import type { Slots } from "./slots.ts";

/** @param status as it is now */
export function metricsOf(
  status: ReplicationStatus,
  { primary, roster, gate, checkpointer, slots, watcher }: Parts,
): ReplicationMetrics {
  const { meter } = gate;
  const { commits, bytes, checkpoints, checkpointsPostponed, oldest } = meter;
  const now = performance.now();
  const { logBytes } = status.primary;
  const size = logBytes > 0 ? frameSize(primary.index.pageSize) : 0;
  return {
    commits,
    bytes,
    checkpoints,
    checkpointsPostponed,
    commitLatency: meter.commitLatency.latencies,
    ...gate.ring,
    ringWaits: gate.waits,
    logBytes,
    logLimitBytes: checkpointer.logLimitBytes,
    oldestReaderMs: checkpointer.postponed?.ms ?? null,
    openTransactionMs: watcher?.openTransactionMs ?? null,
    freeBytes: watcher?.freeBytes(primary.path) ?? null,
    replicas: roster.members.map(({ path, index, mark, asynchronous }, i) => {
      const frames = status.replicas[i]?.lag ?? 0;
      const detached = mark ? (Date.now() - Date.parse(mark.since)) / 1000 : 0;
      const first = asynchronous ? (asynchronous.trail ?? asynchronous).since : oldest;
      const behind = frames > 0 && first > 0 ? (now - first) / 1000 : 0;
      const lag = { frames, bytes: frames * size, seconds: Math.max(0, detached, behind) };
      const freeBytes = watcher?.freeBytes(path) ?? null;
      return { path, lag, freeBytes, syncLatency: slots.syncLatency(index) };
    }),
  };
}

export interface Parts {
  readonly primary: Primary;
  readonly roster: Roster;
  readonly gate: Gate;
  readonly checkpointer: Checkpointer;
  readonly slots: Slots;
  readonly watcher: Watcher | null;
}
