/**
 * Where each copy stands, looked at from outside: no lock is kept, nothing is changed, and the copies
 * may be in use. What is seen of a copy that is being written is a moment old.
 */
import os from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { isStream, streamName } from "./address.ts";
import { type Driver, isBusy, loadDriver } from "./driver.ts";
import { codes, LockstepError } from "./errors.ts";
import { isAlive } from "./lineage/alive.ts";
import { decide, type Relation } from "./lineage/decide.ts";
import { type Copy, describeCopy, realPath } from "./lineage/describe.ts";
import { withPast } from "./lineage/left-at.ts";
import { formatPosition } from "./lineage/position.ts";
import { type Proof, readProof } from "./lineage/proof.ts";
import { type Owner, type SidecarEvent, sidecarPath } from "./lineage/sidecar.ts";
import { readSidecar, type SidecarSnapshot } from "./lineage/unlocked.ts";
import { copyOf, deepCopyOf } from "./stream/describe.ts";
import { openStream } from "./stream/open.ts";
import { readTail } from "./stream/tail.ts";
import type { Warning } from "./warning.ts";
import { aboutDisks, placesOf } from "./watch/disks.ts";

export interface CopyStatus {
  readonly path: string;
  /** "missing": no file or an empty one. */
  readonly file: "missing" | "present";
  readonly bytes: number;
  /** Committed frames in its log that its file may not hold yet. */
  readonly logFrames: number;
  /** `timeline/generation/frame/checksum`; null if it is not proven. */
  readonly position: string | null;
  /** How the position is known, or why it is not. */
  readonly because: string;
  /** What its record says it is; null without a record. */
  readonly role: "primary" | "replica" | null;
  readonly timeline: number | null;
  /** Who has it in use, or null. */
  readonly inUse: { readonly pid: number; readonly host: string; readonly since: string } | null;
  /** The newest entry of its record, such as "copied" or "failed: ERR_LOCKSTEP_REPLICA_FULL". */
  readonly lastEvent: SidecarEvent | null;
}

export interface ReplicaStatus extends CopyStatus {
  /**
   * How it stands to the primary. "unknown": not proven without a comparison of all pages;
   * "locked": another process than the primary's has it in use.
   */
  readonly relation: Relation;
  /** Why it is said to stand so. */
  readonly why: string;
  /** The primary's record says that commits went on without it: since when, from where, and why. */
  readonly detached: {
    readonly since: string;
    /** What it was last known to hold; null if that was not known. */
    readonly position: string | null;
    /** Of its failure. */
    readonly code: string;
  } | null;
  /** When a drill last proved that it restores, or failed to; null: none did, or of another copy. */
  readonly lastProof: Proof | null;
}

export interface StatusReport {
  readonly primary: CopyStatus;
  readonly replicas: readonly ReplicaStatus[];
  /** What is to be known of the disks; what needs a process that has the copies open only that can tell. */
  readonly warnings: readonly Warning[];
}

/**
 * @throws LockstepError SIDECAR if a record cannot be read; of a stream REPLICA_GONE, REPLICA_TIMEOUT and what
 *   else keeps it from being read
 */
export async function status(primary: string, replicas: readonly string[]): Promise<StatusReport> {
  const driver = loadDriver("node:sqlite");
  const first = await look(driver, realPath(primary));
  const report: ReplicaStatus[] = [];
  let seen = first;
  for (const replica of replicas) {
    const pair = isStream(replica)
      ? await lookAtStream(driver, seen, replica)
      : await lookAtPair(driver, seen, realPath(replica));
    seen = pair.primary;
    report.push(pair.replica);
  }
  const copies = [seen.copy.path, ...report.map(({ path }) => path)] as const;
  const found = aboutDisks(copies, await placesOf(copies), null);
  const warnings = found.map(([, warning]) => warning);
  return { primary: statusOf(seen), replicas: report, warnings };
}

/** What is seen of one copy. */
export interface Look {
  readonly copy: Copy;
  readonly record: SidecarSnapshot | null;
  readonly inUse: Owner | null;
}

/**
 * One copy; again if its record changed while the rest was looked at.
 * @throws LockstepError SIDECAR
 */
export async function look(driver: Driver, file: string): Promise<Look> {
  for (let tries = 1; ; tries++) {
    try {
      const record = readSidecar(driver, file);
      const copy = withPast(describeCopy(file, record));
      const after = readSidecar(driver, file);
      const settled = JSON.stringify(record?.state) === JSON.stringify(after?.state);
      const inUse = heldBy(driver, file, record);
      // An unproven position of a copy in use: it was caught in the middle of a checkpoint.
      const caught = inUse !== null && copy.position === null;
      if ((settled && !caught) || tries >= TRIES) return { copy, record, inUse };
    } catch (error) {
      // A record that was read while it was written looks damaged.
      const isSidecar = error instanceof LockstepError && error.code === codes.SIDECAR;
      if (!isSidecar || tries >= TRIES) throw error;
    }
    await delay(BETWEEN_TRIES_MS);
  }
}

// --- internal ---

const TRIES = 20;
const BETWEEN_TRIES_MS = 25;
/** How long the servers of a stream may take until it is open, in milliseconds. */
const STREAM_PATIENCE_MS = 30_000;

/** A replica and its primary, at one moment as far as can be had. */
async function lookAtPair(
  driver: Driver,
  before: Look,
  file: string,
): Promise<{ primary: Look; replica: ReplicaStatus }> {
  let primary = before;
  for (let tries = 1; ; tries++) {
    const replica = await look(driver, file);
    const { relation, because } = decide(primary.copy, replica.copy);
    const result = {
      ...{ ...statusOf(replica), relation, why: because },
      detached: detachedBy(primary, file),
      lastProof: readProof(file, replica.record?.state.copyId ?? null),
    };
    if (replica.inUse && !sameOwner(replica.inUse, primary.inUse)) {
      const { pid, host } = replica.inUse;
      const why = `process ${pid} on ${host} has it in use, and not with this primary`;
      return { primary, replica: { ...result, relation: "locked", why } };
    }
    // Commits land between two looks. While both are in use by one process, look until they meet.
    if (!replica.inUse || relation === "in-step" || tries >= TRIES) {
      return { primary, replica: result };
    }
    await delay(BETWEEN_TRIES_MS);
    primary = await look(driver, before.copy.path);
  }
}

/** The same of a stream. It may be written meanwhile: then it is ahead of what was seen of its primary. */
async function lookAtStream(
  driver: Driver,
  before: Look,
  address: string,
): Promise<{ primary: Look; replica: ReplicaStatus }> {
  const name = streamName(address);
  const { log, keys } = await openStream(address, AbortSignal.timeout(STREAM_PATIENCE_MS));
  try {
    let primary = before;
    for (let tries = 1; ; tries++) {
      const tail = await readTail(log, keys);
      const quick = copyOf(name, tail);
      const isClear = decide(primary.copy, quick).action.do !== "refuse";
      const copy = isClear ? quick : await deepCopyOf(log, name, tail, keys);
      const { relation, because } = decide(primary.copy, copy);
      const seen = statusOf({ copy, record: null, inUse: null });
      const replica = { ...seen, relation, why: because, detached: detachedBy(primary, name) };
      if (relation === "in-step" || !primary.inUse || tries >= TRIES) {
        return { primary, replica: { ...replica, lastProof: null } };
      }
      await delay(BETWEEN_TRIES_MS);
      primary = await look(driver, before.copy.path);
    }
  } finally {
    await log.close();
  }
}

function detachedBy({ record }: Look, file: string): ReplicaStatus["detached"] {
  const mark = record?.state.detached.find(({ path }) => path === file);
  if (!mark) return null;
  const { since, position, code } = mark;
  return { since, position: position && formatPosition(position), code };
}

function sameOwner(a: Owner, b: Owner | null): boolean {
  return b !== null && a.pid === b.pid && a.host === b.host;
}

/**
 * Who holds the copy's lock: the owner on record, unless it is gone. Its lock is only asked for
 * while that process lives, or cannot be seen from here; then it is held, and asking is harmless.
 */
function heldBy(driver: Driver, file: string, record: SidecarSnapshot | null): Owner | null {
  const owner = record?.owner ?? null;
  if (!owner || (owner.host === os.hostname() && !isAlive(owner.pid))) return null;
  const connection = driver.open(sidecarPath(file), { readOnly: true, timeout: 0 });
  try {
    connection.all("SELECT count(*) FROM state");
    return null;
  } catch (error) {
    return isBusy(error) ? owner : null;
  } finally {
    connection.close();
  }
}

function statusOf({ copy, record, inUse }: Look): CopyStatus {
  const timeline = copy.state?.databaseId ? copy.state.timeline : null;
  const position = copy.position && { ...copy.position, timeline: timeline ?? 0 };
  return {
    path: copy.path,
    file: copy.file,
    bytes: copy.bytes,
    logFrames: copy.log?.commits.at(-1)?.frame ?? 0,
    position: position && formatPosition(position),
    because: copy.because,
    role: copy.state?.databaseId ? copy.state.role : null,
    timeline,
    inUse: inUse && { pid: inUse.pid, host: inUse.host, since: inUse.since },
    lastEvent: record?.events.at(-1) ?? null,
  };
}
