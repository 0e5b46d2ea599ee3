/**
 * Makes a replica the database again: a verified, synced copy of it under another name, on a new
 * timeline, so that the primary it replaces is refused should it come back.
 *
 *   1  lock both; refuse what is in use, and what would be overwritten
 *   2  write the replica's image (file and committed log) beside DEST, under a temporary name; sync
 *   3  compare it with the replica, page by page, and run integrity_check
 *   4  set aside what stands at DEST (restore/set-aside.ts)
 *   5  record at DEST: whose copy, which position, the new timeline
 *   6  rename the copy to DEST; sync the directory
 *   7  record the new timeline at the replica: from here on its old primary is fenced
 *
 * Up to 4 nothing but the temporary file was made. From there a crash leaves the old database under
 * its dated name, the new one under its temporary or its own; running it again finishes the work.
 *
 * For a process that has neither database open, see verify.ts.
 */
import fs from "node:fs";
import path from "node:path";
import { type Driver, loadDriver } from "./driver.ts";
import { type Code, codes, LockstepError } from "./errors.ts";
import { isThere, realPath } from "./lineage/describe.ts";
import { formatPosition } from "./lineage/position.ts";
import { nothingThere } from "./lineage/refusal.ts";
import type { Sidecar } from "./lineage/sidecar.ts";
import {
  letGo,
  openOld,
  openSource,
  type Plan,
  planFor,
  promote,
  recordDest,
  type Source,
} from "./restore/lineage.ts";
import { type OnStep, PLACEHOLDER, setAside } from "./restore/set-aside.ts";
import { prove, type RestoreProgress, stage } from "./restore/stage.ts";
import { syncDirectory } from "./targets/directory.ts";

export interface RestoreOptions {
  /** Set a database aside that stands at DEST? Default false: refuse. */
  readonly force?: boolean;
  readonly onProgress?: (progress: RestoreProgress) => void;
  /** @internal */
  readonly onStep?: OnStep;
}

export interface RestoreReport {
  readonly replica: string;
  readonly dest: string;
  readonly pages: number;
  readonly pageSize: number;
  /** Where DEST stands now; null if the replica has no record of its lineage. */
  readonly position: string | null;
  /** The timeline of DEST; null as above. */
  readonly timeline: number | null;
  /** Does the replica know of it, so that its old primary is refused? */
  readonly fenced: boolean;
  /** The new name of what stood at DEST, or null. */
  readonly setAside: string | null;
}

/**
 * Restores the replica at `replica` to `dest`.
 * @throws LockstepError DEST_EXISTS, LOCKED, NOT_A_DATABASE, BAD_OPTION, BUSY, SIDECAR; VERIFY if the
 *   replica is damaged or what was written does not read back equal: nothing was changed then.
 *   PRIMARY_IO if the system refused one of the renames: it says where the databases stand. REPLICA_IO
 *   if all is done but that the replica knows of it. What the system or SQLite says before the renames
 *   passes through as it is
 */
export async function restore(
  replica: string,
  dest: string,
  options: RestoreOptions = {},
): Promise<RestoreReport> {
  const { force = false, onProgress = () => {}, onStep = () => {} } = options;
  const from = realPath(replica);
  const to = destination(dest);
  if (from === to) throw refused(codes.BAD_OPTION, to, "It is the replica itself", "Name another");
  if (!isThere(from)) throw nothingThere(from, "Check the path");
  const driver = loadDriver("node:sqlite");
  const source = openSource(driver, from);
  try {
    const old = openOld(driver, to, force);
    let plan: Plan | null;
    let size: { pages: number; pageSize: number };
    const staged = `${to}-lockstep-new`;
    try {
      if (isThere(to) && !force) throw destExists(from, to);
      onStep("stage");
      stage(from, staged, onProgress);
      size = await prove(from, staged, onProgress);
      plan = planFor(from, source, old);
    } catch (error) {
      discard(staged);
      throw error;
    } finally {
      letGo(old); // its file moves with the old database, or is removed if it never was one
    }
    const swapped = swap({ driver, from, to, staged, source, plan, onStep });
    return {
      ...{ replica: from, dest: to, ...size, ...swapped },
      position: plan && formatPosition(plan.position),
      timeline: plan?.position.timeline ?? null,
    };
  } finally {
    letGo(source);
  }
}

/** Where the file is to be: through symbolic links, but not through a placeholder. */
export function destination(dest: string): string {
  const link = fs.lstatSync(dest, { throwIfNoEntry: false });
  if (!link?.isSymbolicLink()) return realPath(dest);
  const target = fs.readlinkSync(dest);
  const directory = path.dirname(path.resolve(dest));
  if (target === PLACEHOLDER) return path.join(fs.realpathSync(directory), path.basename(dest));
  return destination(path.resolve(directory, target));
}

export function destExists(replica: string, dest: string): LockstepError {
  return refused(
    codes.DEST_EXISTS,
    dest,
    "There is a database already",
    `To set it aside under a dated name: lockstep restore ${replica} ${dest} --force`,
  );
}

// --- internal ---

interface Swap {
  readonly driver: Driver;
  readonly from: string;
  readonly to: string;
  readonly staged: string;
  readonly source: Source;
  readonly plan: Plan | null;
  readonly onStep: OnStep;
}

/** Steps 4 to 7. */
function swap({ driver, from, to, staged, source, plan, onStep }: Swap): {
  fenced: boolean;
  setAside: string | null;
} {
  let aside: string | null = null;
  let sidecar: Sidecar | null = null;
  try {
    aside = setAside(to, true, onStep);
    onStep("record");
    if (plan) sidecar = recordDest(driver, to, staged, from, plan);
    onStep("rename");
    fs.renameSync(staged, to);
    syncDirectory(path.dirname(to)); // durable: the name of the restored database
  } catch (cause) {
    letGo(sidecar);
    throw new LockstepError(codes.PRIMARY_IO, {
      copy: to,
      what: `The restored database could not be put in its place: ${(cause as Error).message}`,
      state: `The replica was not changed. What stood here is still here or at ${to}.set-aside-…`,
      next: "Set right what the system complains of, and run the same command again",
      cause,
    });
  }
  try {
    onStep("promote");
    return { fenced: plan !== null && promote(driver, source, to, plan), setAside: aside };
  } catch (cause) {
    throw new LockstepError(codes.REPLICA_IO, {
      copy: from,
      what: `The replica could not be marked as restored elsewhere: ${(cause as Error).message}`,
      state: `${to} holds all of it and is sound; its old primary would not be refused by this replica yet`,
      next: `Keep the old primary from starting, set right what the system complains of, then: lockstep restore ${from} ${to} --force`,
      cause,
    });
  } finally {
    letGo(sidecar);
  }
}

/** A disk that failed may refuse this, too: what matters is what it said first. The next run removes it. */
function discard(staged: string): void {
  try {
    fs.rmSync(staged, { force: true });
  } catch {}
}

function refused(code: Code, copy: string, what: string, next: string): LockstepError {
  return new LockstepError(code, { copy, what, state: "Nothing was changed", next });
}
