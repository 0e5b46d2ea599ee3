/**
 * A log under fresh salts that brings a copy to a position: to another one (a re-synchronisation), or
 * back to its own (the repair of pages that have rotted). It takes effect in one rename; cut off at any
 * instant, the copy is the old state or the new, and the next start completes what was begun.
 */
import fs from "node:fs";
import path from "node:path";
import type { Driver } from "../driver.ts";
import { syncDirectory } from "../targets/directory.ts";
import { type Salts, sameSalts } from "../wal/format.ts";
import { describeCopy, logFrames, walPath } from "./describe.ts";
import { assertNobodyHasOpen, foldAndRecord } from "./fold.ts";
import type { Position } from "./position.ts";
import type { Note, Sidecar, SidecarState } from "./sidecar.ts";

/** Where such a log is written. */
export function freshLog(copy: string): string {
  return `${copy}-lockstep-new`;
}

/**
 * Puts the log beside its copy, folds it, and records it.
 * @param frames how many the log has; with none there is no log
 * @param change what else becomes true in the same record
 */
export function completeWith(
  driver: Driver,
  sidecar: Sidecar,
  log: Salts & { readonly to: Position; readonly frames: number },
  change: Partial<SidecarState>,
  note: Note,
): void {
  const { copy } = sidecar;
  const { salt1, salt2, to, frames } = log;
  // durable: a re-synchronisation is on record
  sidecar.update({ resync: { salt1, salt2, to } });
  if (frames > 0) {
    assertNobodyHasOpen(copy);
    fs.renameSync(freshLog(copy), walPath(copy));
    syncDirectory(path.dirname(copy)); // as SQLite does it once more before it folds
  }
  // Until its log is gone, what it leads to stays on record.
  const { resync } = sidecar.state;
  foldAndRecord(
    driver,
    sidecar,
    { position: to, frames },
    { ...change, generation: null, resync },
    note,
  );
  sidecar.update({ resync: null });
}

/** One that a crash cut off after its log was in place. */
export function completeCutOff(driver: Driver, sidecar: Sidecar): void {
  const { resync } = sidecar.state;
  if (!resync) return;
  const copy = describeCopy(sidecar.copy, sidecar);
  if (copy.log && sameSalts(copy.log.header, resync)) {
    const at = { position: resync.to, frames: logFrames(copy) };
    foldAndRecord(driver, sidecar, at, { generation: null });
  }
  sidecar.update({ resync: null });
}
