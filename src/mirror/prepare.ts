/**
 * The start, on the replica's side: make the replica, or bring it to where frames can be appended.
 * The primary stands still meanwhile (its hub holds SQLite's write lock). Each step leaves either
 * the old state or the new one, whenever it is cut off; the order of its lines is why.
 */
import { randomInt } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Driver } from "../driver.ts";
import type { CopySums, Membership } from "../gate/messages.ts";
import { type BulkResult, runBulk, type Watch } from "../lineage/bulk.ts";
import { describeCopy, walPath } from "../lineage/describe.ts";
import { readFingerprint, sameFingerprint, stampUnused } from "../lineage/fingerprint.ts";
import { busy, emptyPlaceForLog, foldAndRecord } from "../lineage/fold.ts";
import { keeperOf } from "../lineage/keeper.ts";
import { commitsOf, keepLeft, readLeft } from "../lineage/left-at.ts";
import { copyLog } from "../lineage/log-copy.ts";
import type { Position } from "../lineage/position.ts";
import { completeWith, freshLog } from "../lineage/resync.ts";
import type { Sidecar } from "../lineage/sidecar.ts";
import { moveStrayLogs } from "../lineage/stray.ts";
import type { SumsRecord } from "../lineage/sums.ts";
import { syncDirectory } from "../targets/directory.ts";

/**
 * The full copy: a replica where there is none.
 * @returns the sums that both copies have then, as far as they were wanted
 */
export async function makeCopy(
  sidecar: Sidecar,
  membership: Membership,
  wanted: CopySums,
  watch: Watch,
): Promise<SumsRecord | null> {
  const copy = sidecar.copy;
  const fresh = freshLog(copy);
  fs.rmSync(fresh, { force: true });
  moveStrayLogs(copy); // durable: no foreign log beside the copy
  const { primary, position } = membership;
  const sums = {
    of: wanted === "both" ? [copy, primary] : [copy],
    from: wanted === "take" ? primary : null,
  };
  const task = { task: "copy", from: primary, to: fresh, sums } as const;
  const { sums: made = null } = await runBulk(task, copy, watch);
  assertStill(membership);
  const folded = { position, file: stampUnused(fresh), sums: made };
  // durable, in this order: a copy: recorded, then named
  sidecar.update(
    { ...belongTo(membership), generation: null, folded },
    { event: ["copied", `from ${primary}`], history: past(sidecar, membership) },
  );
  fs.renameSync(fresh, copy); // durable, in this order: a copy: named, then synced
  syncDirectory(path.dirname(copy)); // durable: the name of the copy
  return made;
}

/**
 * The last proof: how many pages differ between the two images?
 * @param frame where in both logs the images end; null: at the end of each
 */
export function comparePages(
  sidecar: Sidecar,
  primary: string,
  frame: number | null,
  watch: Watch,
): Promise<BulkResult> {
  const { copy } = sidecar;
  return runBulk({ task: "compare", from: primary, to: copy, frame }, copy, watch);
}

/** Takes a file that was just proven equal as the replica. */
export function adopt(
  driver: Driver,
  sidecar: Sidecar,
  frames: number,
  membership: Membership,
): void {
  keeperOf(sidecar).drop(); // it is not known what was done to the file
  foldAndRecord(
    driver,
    sidecar,
    { position: membership.position, frames },
    { ...belongTo(membership), generation: null },
    { event: ["adopted", "all pages were equal"], history: past(sidecar, membership) },
  );
}

/** Writes the pages that differ as one transaction: an older replica becomes equal. */
export async function resynchronise(
  driver: Driver,
  sidecar: Sidecar,
  from: { readonly position: Position; readonly frames: number },
  { membership, sums: given }: { readonly membership: Membership; readonly sums: CopySums },
  watch: Watch,
): Promise<void> {
  const { copy } = sidecar;
  const { primary } = membership;
  const log = freshLog(copy);
  const salts = { salt1: randomInt(0xffffffff), salt2: randomInt(0xffffffff) };
  fs.rmSync(log, { force: true });
  foldAndRecord(driver, sidecar, from);
  const sums = given === "take" ? primary : null;
  const task = { task: "delta", from: primary, to: copy, log, sums, ...salts } as const;
  const { differing } = await runBulk(task, copy, watch);
  assertStill(membership);
  completeWith(
    driver,
    sidecar,
    { ...salts, to: membership.position, frames: differing },
    belongTo(membership),
    {
      event: ["re-synchronised", `${differing} pages written`],
      history: past(sidecar, membership),
    },
  );
}

/** Puts the primary's log beside a replica that has none, whole, in one rename. */
export function installLog(driver: Driver, sidecar: Sidecar, membership: Membership): void {
  const { copy } = sidecar;
  const { position, base } = membership;
  const log = freshLog(copy);
  fs.rmSync(log, { force: true });
  copyLog(walPath(membership.primary), log, position, fs.statSync(copy).mode);
  emptyPlaceForLog(driver, copy);
  const { salt1, salt2 } = position;
  // durable, in this order: an installed log: recorded, then named
  sidecar.update({ generation: { salt1, salt2, base } }, { history: base ? [base] : [] });
  fs.renameSync(log, walPath(copy));
  syncDirectory(path.dirname(copy)); // and again when the log is opened, before it is used
}

/**
 * The other way round: the replica's content to a new file, durable but for its name.
 * @param primary the name that it will have
 * @returns the sums of that
 */
export async function exportCopy(
  driver: Driver,
  sidecar: Sidecar,
  at: { readonly position: Position; readonly frames: number },
  { to, primary }: { readonly to: string; readonly primary: string },
  watch: Watch,
): Promise<SumsRecord | null> {
  const { copy } = sidecar;
  const { leftAt = {} } = sidecar.state;
  const left = readLeft(copy);
  if (Object.keys(leftAt).length + left.length > 0) {
    const kept = [...left, ...commitsOf(describeCopy(copy, sidecar))];
    keepLeft(primary, kept); // durable: of an asynchronous stream the primary knows what the replica does
  }
  foldAndRecord(driver, sidecar, at);
  fs.rmSync(to, { force: true });
  try {
    const sums = { of: [primary], from: sidecar.state.folded?.sums ? copy : null };
    const made = await runBulk({ task: "copy", from: copy, to, sums }, to, watch);
    return made.sums ?? null;
  } catch (error) {
    (error as { file?: string }).file ??= to; // what could not be written is not the replica
    throw error;
  }
}

// --- internal ---

/** @throws LockstepError BUSY if another program folded the primary's log while its file was read */
function assertStill({ primary, file }: Membership): void {
  const now = file && readFingerprint(primary);
  // durable: a copy of one position
  if (file && (!now || !sameFingerprint(now, file))) throw busy(primary);
}

/** Of the primary's past and its present, what the replica's record lacks. */
function past(sidecar: Sidecar, { history, position }: Membership): Position[] {
  return sidecar.lacking([...history, position]);
}

function belongTo({ databaseId, timeline }: Membership): {
  databaseId: string;
  timeline: number;
  role: "replica";
  folding: false;
  resync: null;
} {
  return { databaseId, timeline, role: "replica", folding: false, resync: null };
}
