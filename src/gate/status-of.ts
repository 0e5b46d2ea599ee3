/** What `db.replication.status` says. */
import type { LockstepError } from "../errors.ts";
import { formatPosition, type Position } from "../lineage/position.ts";
import type { LivePage, ReplicaStatus, ReplicationStatus } from "../observe.ts";
import { frameOffset, sameSalts } from "../wal/format.ts";
import type { SharedIndex } from "../wal/shared-index.ts";
import type { Warning } from "../warning.ts";
import type { Primary } from "./primary.ts";
import type { Member, Roster } from "./roster.ts";

/** Null: it cannot be read, which fences the connections. */
export function readIndex(
  primary: Primary,
  fence: (error: unknown) => unknown,
): SharedIndex | null {
  try {
    return primary.readIndex();
  } catch (error) {
    fence(error);
    return null;
  }
}

export interface Circumstances {
  /** Null: it is not in use any more. */
  readonly log: SharedIndex | null;
  /** What every copy that is waited for holds. */
  readonly durable: Position;
  readonly waits: number;
  readonly rot: readonly LivePage[];
  readonly healed: number;
  readonly warnings: readonly Warning[];
  /** What fenced the connection. */
  readonly failure: LockstepError | null;
  readonly isClosed: boolean;
}

export function statusOf(
  primary: Primary,
  roster: Roster,
  { log, durable, waits, rot, healed, warnings, failure, isClosed }: Circumstances,
): ReplicationStatus {
  return {
    primary: {
      path: primary.path,
      position: formatPosition(primary.position),
      logBytes: log ? frameOffset(log.frames + 1, log.pageSize) : 0,
    },
    replicas: roster.members.map((member): ReplicaStatus => {
      const { path, mirror, mark, lastError, asynchronous } = member;
      const failed = mirror?.failure ?? null;
      const later = asynchronous && (asynchronous.trail ?? asynchronous).held;
      const held = asynchronous ? later : mark ? mark.position : failed ? null : durable;
      return {
        path,
        copyId: mirror?.copyId ?? null,
        asynchronous: asynchronous !== null,
        state: failed ? "failed" : isClosed ? "closed" : stateOf(member),
        position: held && formatPosition(held),
        lag: held && log ? framesBetween(held, log) : 0,
        lastError: failed ?? lastError,
      };
    }),
    waits,
    rot,
    healed,
    warnings,
    failure,
  };
}

// --- internal ---

function stateOf({ mirror, mark, asynchronous, lastError }: Member): ReplicaStatus["state"] {
  if (asynchronous?.trail) return "mirroring";
  if (asynchronous) return lastError ? "detached" : "rejoining";
  if (!mark) return "mirroring";
  return mirror ? "rejoining" : "detached";
}

/** How many frames of the log are after a position. */
function framesBetween(position: Position, log: SharedIndex): number {
  return sameSalts(position, log) ? Math.max(0, log.frames - position.frame) : log.frames;
}
