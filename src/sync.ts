/**
 * Brings two copies together once, as opening the database would, and lets go of them. With `from`
 * also where a start refuses: that side's content wins, the other is set aside under a dated name.
 */
import { type Driver, loadDriver } from "./driver.ts";
import { type Code, codes, LockstepError } from "./errors.ts";
import { openOnce } from "./gate/open-hub.ts";
import { type Decision, decide } from "./lineage/decide.ts";
import { type Copy, describeCopy, realPath } from "./lineage/describe.ts";
import { nothingThere } from "./lineage/refusal.ts";
import { Sidecar } from "./lineage/sidecar.ts";
import { readSidecar } from "./lineage/unlocked.ts";
import type { Progress } from "./options.ts";
import { setAside } from "./restore/set-aside.ts";
import type { RestoreProgress } from "./restore/stage.ts";
import { restore } from "./restore.ts";

export interface SyncOptions {
  /** Whose content wins if neither can be shown to contain the other. Default: refuse then. */
  readonly from?: "primary" | "replica" | undefined;
  readonly onProgress?: (progress: Progress | RestoreProgress) => void;
}

export interface SyncReport {
  readonly primary: string;
  readonly replica: string;
  /** How the replica stood to the primary before, and why. */
  readonly before: Pick<Decision, "relation" | "because">;
  /** Where both stand now: `timeline/generation/frame/checksum`. */
  readonly position: string;
  /** The new name of the copy that had to give way, or null. */
  readonly setAside: string | null;
}

/** @throws LockstepError, any code of the start; with `from` also those of restore.ts */
export async function sync(
  primary: string,
  replica: string,
  { from, onProgress = () => {} }: SyncOptions = {},
): Promise<SyncReport> {
  const driver = loadDriver("node:sqlite");
  const [P, R] = [look(driver, primary), look(driver, replica)];
  const { relation, because } = decide(P, R);
  if (P.file === "missing" && R.file === "missing") throw nothingThere(P.path, "Check the path");
  if (P.state?.role === "replica" && R.state?.role === "primary" && !from) throw swapped(P, R);
  const report = { primary: P.path, replica: R.path, before: { relation, because } };
  const open = (): string => openOnce(P.path, [R.path], onProgress);

  if (from === "primary") {
    // A replica that is ahead, or may turn out to be, would roll the primary forward: not what was
    // asked for.
    const mustYield = relation === "ahead" || relation === "unknown";
    const position = mustYield ? null : unlessRefused(open, YIELDS_TO_PRIMARY);
    if (position !== null) return { ...report, position, setAside: null };
    const aside = moveAway(driver, R.path);
    return { ...report, position: open(), setAside: aside };
  }
  if (from === "replica") {
    if (R.file === "missing") throw nothingThere(R.path, "Check the path");
    // A replica that is behind, or may turn out to be, would be brought forward: not what was asked
    // for.
    const mustYield = relation === "behind" || relation === "unknown";
    const position = mustYield ? null : unlessRefused(open, YIELDS_TO_REPLICA);
    if (position !== null) return { ...report, position, setAside: null };
    const restored = await restore(R.path, P.path, { force: true, onProgress });
    return { ...report, position: open(), setAside: restored.setAside };
  }
  return { ...report, position: open(), setAside: null };
}

// --- internal ---

/** The refusals that an explicit `from` settles. A promoted replica never yields (FENCED). */
const YIELDS_TO_PRIMARY: readonly Code[] = [
  codes.DIVERGED,
  codes.REPLICA_UNKNOWN,
  codes.PRIMARY_STALE,
];
const YIELDS_TO_REPLICA: readonly Code[] = [
  ...YIELDS_TO_PRIMARY,
  codes.PRIMARY_MISSING,
  codes.FENCED,
];

function look(driver: Driver, file: string): Copy {
  const name = realPath(file);
  return describeCopy(name, readSidecar(driver, name));
}

/** Null if it was refused with one of these codes. */
function unlessRefused(open: () => string, refusals: readonly Code[]): string | null {
  try {
    return open();
  } catch (error) {
    if (error instanceof LockstepError && refusals.includes(error.code)) return null;
    throw error;
  }
}

/** @throws LockstepError LOCKED */
function moveAway(driver: Driver, replica: string): string | null {
  Sidecar.open(driver, replica, "replica").close(); // nobody has it in use
  return setAside(replica, false, () => {});
}

function swapped(primary: Copy, replica: Copy): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: primary.path,
    what: `It is on record as a replica, and ${replica.path} as its primary`,
    state: "Nothing was changed",
    next: `The other way round: lockstep sync ${replica.path} ${primary.path}. If the replica is to take over: lockstep restore ${primary.path} ${replica.path} --force`,
  });
}
