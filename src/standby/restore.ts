/**
 * Restores a database out of a stream: as it was after the last commit, or after any one that the stream still leads to.
 *
 *   1  find the target, and the newest snapshot before it
 *   2  write the image and what follows it beside DEST, under a temporary name; verify, sync
 *   3  integrity_check
 *   4  set aside what stands at DEST; record; rename; sync the directory       as restore.ts
 *
 * What was restored to the stream's end is a copy of it: its record says where it stands, and that it is a replica, so
 * it can follow, or be promoted. An earlier state is a database of its own, without a record: nothing that
 * still holds what came after it may take it for a copy.
 */
import fs from "node:fs";
import path from "node:path";
import { type Driver, loadDriver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { isThere } from "../lineage/describe.ts";
import { stampUnused } from "../lineage/fingerprint.ts";
import { formatPosition, parsePosition } from "../lineage/position.ts";
import { Sidecar } from "../lineage/sidecar.ts";
import { letGo, openOld } from "../restore/lineage.ts";
import { setAside } from "../restore/set-aside.ts";
import { destExists, destination } from "../restore.ts";
import { findCommit, findHole, findMoment, findStart, type Target } from "../stream/find.ts";
import type { Keys } from "../stream/keys.ts";
import type { Ends, StreamLog } from "../stream/log.ts";
import { syncDirectory } from "../targets/directory.ts";
import { integrityOf } from "../verify/owners.ts";
import { Snapshot } from "../verify/snapshot.ts";
import { noSnapshot } from "./make.ts";
import { notThere, refused } from "./refusals.ts";
import { type Staged, type StageProgress, stageFrom } from "./stage.ts";

export interface StreamRestoreOptions {
  readonly keys?: Keys | null;
  /**
   * A commit, as `timeline/generation/frame/checksum`, or a moment, in ISO 8601 with its zone: the last commit
   * whose message the stream took at or before it. Default: the last commit.
   */
  readonly at?: string | undefined;
  /** Set a database aside that stands at DEST? Default false: refuse. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: StageProgress;
  readonly onCheck?: (path: string) => void;
}

export interface StreamRestoreReport {
  readonly stream: string;
  readonly dest: string;
  readonly pages: number;
  readonly pageSize: number;
  /** What was restored: `timeline/generation/frame/checksum`. */
  readonly position: string;
  /** When the stream took the message with its last commit. */
  readonly time: string;
  /** Is DEST on record as a copy of the stream? Else it is a database of its own. */
  readonly isReplica: boolean;
  /** The new name of what stood at DEST, or null. */
  readonly setAside: string | null;
}

/**
 * @throws LockstepError DEST_EXISTS, LOCKED, BAD_OPTION; REPLICA_GONE if the stream does not lead there; REPLICA_CHANGED
 *   if a message, VERIFY if a snapshot is damaged: nothing was changed then. PRIMARY_IO if the system refused one of
 *   the renames: it says where the databases stand
 */
export async function restoreStream(
  log: StreamLog,
  dest: string,
  options: StreamRestoreOptions = {},
): Promise<StreamRestoreReport> {
  const { keys = null, at, force = false, onProgress = () => {}, onCheck = () => {} } = options;
  const { signal = new AbortController().signal } = options;
  const to = destination(dest);
  const driver = loadDriver("node:sqlite");
  const old = openOld(driver, to, force);
  const file = `${to}-lockstep-new`;
  let staged: Staged;
  try {
    if (isThere(to) && !force) throw destExists(log.name, to);
    const ends = await log.ends();
    const { message, target, moment } = await targetOf(log, ends, at);
    const start = await findStart(log, ends, { ...target, to: message }, keys);
    if (!start) throw at === undefined ? noSnapshot(log) : noEarlier(log, at);
    staged = await stageFrom(log, start, target, file, { keys, onProgress, signal });
    // durable: no earlier state is taken for that of a moment in a hole
    if (moment) await assertNoHole(log, { ...ends, last: message }, ends, staged, moment, keys);
    onCheck(file);
    assertSound(file, log.name);
  } catch (error) {
    discard(file);
    throw error;
  } finally {
    letGo(old); // its file moves with the old database
  }
  const isReplica = at === undefined;
  const aside = swap(driver, file, to, isReplica ? staged : null, log.name);
  const { pages, pageSize, position, time } = staged;
  return {
    ...{ stream: log.name, dest: to, pages, pageSize, position: formatPosition(position) },
    ...{ time: time.toISOString(), isReplica, setAside: aside },
  };
}

// --- internal ---

/** Where to end, and the message that holds it: what is begun from stands before that. */
async function targetOf(
  log: StreamLog,
  ends: Ends,
  at: string | undefined,
): Promise<{ readonly message: number; readonly target: Target; readonly moment?: Date }> {
  if (at === undefined) return { message: ends.last, target: { to: ends.last, position: null } };
  const position = parsePosition(at);
  if (position) {
    const sequence = await findCommit(log, ends, position);
    if (sequence === null) throw notThere(log.name, `${at} is not in it`);
    // Of a large transaction the end may come in a later message.
    return { message: sequence, target: { to: ends.last, position } };
  }
  const isMoment = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/.test(at);
  const moment = new Date(at);
  if (!isMoment || Number.isNaN(moment.getTime())) throw noTarget(at);
  const sequence = await findMoment(log, ends, moment);
  if (sequence === null) throw notThere(log.name, `its first message is younger than ${at}`);
  return { message: sequence, target: { to: sequence, position: null }, moment };
}

/**
 * What was restored for a moment is the last commit before it that is in the stream; what was committed after that is
 * not, if the stream begins anew behind it.
 * @param upTo where the stream's ends would be at the target
 * @throws LockstepError REPLICA_GONE
 */
async function assertNoHole(
  log: StreamLog,
  upTo: Ends,
  ends: Ends,
  { position, time }: Staged,
  moment: Date,
  keys: Keys | null,
): Promise<void> {
  if (moment.getTime() <= time.getTime()) return;
  const message = await findCommit(log, upTo, position);
  const hole = message && (await findHole(log, ends, message, position, keys));
  if (!hole) return;
  throw refused(
    codes.REPLICA_GONE,
    log.name,
    `What was committed between ${time.toISOString()} and ${hole.time.toISOString()} is not in the stream: message ${hole.sequence} begins it anew with an image`,
    `Restore what was before the hole: --at ${formatPosition(position)}; or what came after: --at ${formatPosition(hole.position)}`,
  );
}

/** @throws LockstepError VERIFY */
function assertSound(file: string, stream: string): void {
  const snapshot = new Snapshot(file);
  try {
    snapshot.take();
    const found = snapshot.query(integrityOf);
    if (found === "ok") return;
    throw new LockstepError(codes.VERIFY, {
      copy: stream,
      what: `What it leads to is damaged; integrity_check says: ${found.split("\n")[0]}`,
      state: "The destination was not changed",
      next: "Restore to an earlier position: lockstep restore --at",
    });
  } finally {
    snapshot.close();
  }
}

function swap(
  driver: Driver,
  file: string,
  to: string,
  replica: Staged | null,
  stream: string,
): string | null {
  let sidecar: Sidecar | null = null;
  try {
    const aside = setAside(to, true, () => {});
    if (replica) sidecar = record(driver, file, to, replica, stream);
    fs.renameSync(file, to);
    syncDirectory(path.dirname(to)); // durable: the name of what was restored from a stream
    return aside;
  } catch (cause) {
    throw new LockstepError(codes.PRIMARY_IO, {
      copy: to,
      what: `The restored database could not be put in its place: ${(cause as Error).message}`,
      state: `The stream was not changed. What stood here is still here or at ${to}.set-aside-…`,
      next: "Set right what the system complains of, and run the same command again",
      cause,
    });
  } finally {
    letGo(sidecar);
  }
}

/** It is a copy of the stream, and stands there. */
function record(
  driver: Driver,
  file: string,
  to: string,
  { databaseId, position }: Staged,
  stream: string,
): Sidecar {
  const mark = stampUnused(file);
  const sidecar = Sidecar.open(driver, to, "replica");
  sidecar.update(
    {
      ...{ databaseId, role: "replica", timeline: position.timeline, stream },
      ...{ generation: null, resync: null, folding: false, folded: { position, file: mark } },
    },
    { forget: true, history: [position], event: ["restored", `from ${stream}`] },
  );
  return sidecar;
}

/** A disk that failed may refuse this, too: what matters is what it said first. */
function discard(file: string): void {
  try {
    fs.rmSync(file, { force: true });
  } catch {}
}

function noTarget(at: string): LockstepError {
  return refused(
    codes.BAD_OPTION,
    at,
    "It is neither a position nor a moment",
    "Write timeline/generation/frame/checksum, or a time with its zone: 2026-01-31T12:00:00Z",
  );
}

function noEarlier(log: StreamLog, at: string): LockstepError {
  return notThere(log.name, `no snapshot before ${at} is left, from which its messages lead there`);
}
