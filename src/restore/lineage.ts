/**
 * What a restore does to the records beside the copies: it locks them, plans the new timeline, and
 * writes it down, first at the destination and, when that stands, at the replica.
 */
import fs from "node:fs";
import path from "node:path";
import type { Driver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { describeCopy, logFrames } from "../lineage/describe.ts";
import { stampUnused } from "../lineage/fingerprint.ts";
import { foldAndRecord } from "../lineage/fold.ts";
import { keeperOf } from "../lineage/keeper.ts";
import { commitsOf, keepLeft, readLeft } from "../lineage/left-at.ts";
import { type LeftAt, originPosition, type Position } from "../lineage/position.ts";
import { Sidecar, type SidecarState, sidecarPath } from "../lineage/sidecar.ts";
import { readSidecar, type SidecarSnapshot } from "../lineage/unlocked.ts";

/** The replica's record: locked, only read (its disk is read-only), or null if it has none. */
export type Source = Sidecar | SidecarSnapshot | null;

/** @throws LockstepError LOCKED, SIDECAR */
export function openSource(driver: Driver, replica: string): Source {
  if (!fs.existsSync(sidecarPath(replica))) return null;
  if (!isWritable(path.dirname(replica))) return readSidecar(driver, replica);
  return Sidecar.open(driver, replica, "replica");
}

/**
 * Locks what stands at the destination.
 * @throws LockstepError LOCKED; SIDECAR, unless it is to be set aside anyway
 */
export function openOld(driver: Driver, dest: string, force: boolean): Sidecar | null {
  if (!fs.existsSync(sidecarPath(dest))) return null;
  try {
    return Sidecar.open(driver, dest, "primary");
  } catch (error) {
    if (force && error instanceof LockstepError && error.code === codes.SIDECAR) return null;
    throw error;
  }
}

/**
 * Closes a record, which frees its lock. What it says of its owner may not be written any more: that is
 * for people, and hides neither an error nor a success.
 */
export function letGo(record: Source): void {
  if (!(record instanceof Sidecar)) return;
  try {
    record.close();
  } catch {}
}

/** What the destination will be. */
export interface Plan {
  readonly databaseId: string;
  /** On the new timeline. */
  readonly position: Position;
  /** Is it the replica's proven position, or one made anew for this content? */
  readonly proven: boolean;
  /** Committed frames in the replica's log. */
  readonly frames: number;
  readonly history: readonly Position[];
  /** Where asynchronous streams may be. */
  readonly leftAt: LeftAt;
  readonly kept: readonly Position[];
}

/** Null if the replica has no record: its copy is a database of its own then. */
export function planFor(replica: string, source: Source, old: Sidecar | null): Plan | null {
  const databaseId = source?.state.databaseId;
  if (!source || !databaseId) return null;
  const copy = describeCopy(replica, source);
  const found = copy.position;
  const leftAt = (found && source.state.leftAt) ?? {};
  const left = found ? readLeft(replica) : [];
  const areAny = Object.keys(leftAt).length + left.length > 0;
  const replaced = old?.state.databaseId === databaseId ? old.state.timeline : 0;
  const timeline = Math.max(source.state.timeline, replaced) + 1;
  const position = { ...(found ?? originPosition(timeline)), timeline };
  return {
    databaseId,
    position,
    proven: found !== null,
    frames: logFrames(copy),
    history: source.history,
    leftAt,
    kept: areAny ? [...left, ...commitsOf(copy)] : [],
  };
}

/** Writes the record of the destination, for the file that is still called `staged`; holds it. */
export function recordDest(
  driver: Driver,
  dest: string,
  staged: string,
  replica: string,
  { databaseId, position, history, leftAt, kept }: Plan,
): Sidecar {
  const file = stampUnused(staged);
  const sidecar = Sidecar.open(driver, dest, "primary");
  try {
    // durable: of an asynchronous stream the restored copy knows what the replica does
    if (kept.length > 0) keepLeft(dest, kept);
    sidecar.update(
      {
        ...{ databaseId, role: "primary", timeline: position.timeline, leftAt },
        ...{ generation: null, resync: null, folding: false, folded: { position, file } },
      },
      {
        history: [...history, position],
        event: ["restored", `from ${replica}, timeline ${position.timeline}`],
      },
    );
    return sidecar;
  } catch (error) {
    letGo(sidecar);
    throw error;
  }
}

/** Raises the replica's timeline; false if its record cannot be written. */
export function promote(driver: Driver, source: Source, dest: string, plan: Plan): boolean {
  if (!(source instanceof Sidecar)) return false;
  const { position, proven } = plan;
  const { timeline } = position;
  const event: [string, string] = ["promoted", `restored to ${dest}, timeline ${timeline}`];
  if (!proven) {
    const change: Partial<SidecarState> = { timeline, generation: null, resync: null };
    try {
      keeperOf(source).drop(); // another program wrote the file
      foldAndRecord(driver, source, { position, frames: plan.frames }, change, {
        history: [position],
        event,
      });
      return true;
    } catch (error) {
      // A reader is in the way. Then the next start compares the pages, and finds them equal.
      if (!(error instanceof LockstepError)) throw error;
    }
  }
  // Where the timelines part.
  const history = proven ? [{ ...position, timeline: source.state.timeline }] : [];
  source.update({ timeline }, { event, history });
  return true;
}

// --- internal ---

function isWritable(directory: string): boolean {
  try {
    fs.accessSync(directory, fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
