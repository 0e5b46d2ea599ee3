/**
 * Folds a copy's whole log into its file while nobody else uses it, and records what the file then
 * holds. The record is made while the log is still there: a crash in between loses no proof.
 */
import fs from "node:fs";
import { type Connection, type Driver, isBusy, READ } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { checkpoint, closeUnused, openGuard } from "../targets/file.ts";
import { rewriteLog } from "../targets/log-file.ts";
import { frameOffset } from "../wal/format.ts";
import { stampFingerprint } from "./fingerprint.ts";
import { keeperOf } from "./keeper.ts";
import type { Position } from "./position.ts";
import type { Sidecar, SidecarState } from "./sidecar.ts";

const WAIT_MS = 5000;

/**
 * @param at what the copy holds, log and file together, and how many frames its log has for that
 * @param change what else becomes true in the same record
 * @throws LockstepError BUSY if a reader or writer does not let go within 5 s
 */
export function foldAndRecord(
  driver: Driver,
  sidecar: Sidecar,
  at: { readonly position: Position; readonly frames: number },
  change: Partial<SidecarState> = {},
  note: Parameters<Sidecar["update"]>[1] = {},
): void {
  const { copy } = sidecar;
  const connection = driver.open(copy, { timeout: WAIT_MS });
  let guard: Connection | null = null;
  let fd = -1;
  try {
    guard = openGuard(driver, copy);
    fd = fs.openSync(copy, "r");
    connection.exec("PRAGMA synchronous=FULL");
    connection.exec("PRAGMA wal_autocheckpoint=0");
    if (at.frames > 0) makeDurable(connection, copy, at.frames);
    // durable: a checkpoint is under way, alone
    sidecar.beginFold();
    const full = checkpoint(connection, "RESTART");
    if (full.busy || full.log !== full.checkpointed) throw busy(copy);
    // durable: nothing is recorded that was not folded. A log that was put there beneath another
    // program's open index is invisible to SQLite; -1 stands for no log at all.
    if (Math.max(0, full.log) !== at.frames) throw busy(copy);
    const sums = keeperOf(sidecar).keep(at.frames);
    const file = stampFingerprint(copy, () => fs.fsyncSync(fd), sidecar.state.folded?.file);
    const folded = { position: at.position, file, sums };
    // durable, in this order: the record while the log stands
    sidecar.update({ ...change, folding: false, folded }, note);
    const truncated = checkpoint(connection, "TRUNCATE");
    if (truncated.busy) throw busy(copy);
    guard.close(); // before the other: the last that may write removes the log and the index
    guard = null;
  } finally {
    connection.close();
    // durable: after a failure the log stays. Nobody who may write is the last to close: SQLite would
    // fold and unlink it, and what the file then held would be on no record.
    guard?.close();
    if (fd >= 0) closeUnused(copy, fd);
  }
}

/**
 * A checkpoint syncs the log before it writes the file: frames that the file holds must not be lost
 * from the log. After a sync that failed, before an unclean stop, a plain sync is not enough.
 */
function makeDurable(connection: Connection, copy: string, frames: number): void {
  const pageSize = Number(connection.all("PRAGMA page_size")[0]?.["page_size"]);
  try {
    connection.exec("BEGIN IMMEDIATE"); // nobody writes to the log meanwhile
  } catch (error) {
    throw isBusy(error) ? busy(copy, error) : error;
  }
  // durable: the log is written anew before it is folded
  rewriteLog(copy, frameOffset(frames + 1, pageSize));
  connection.exec("ROLLBACK");
}

/**
 * Removes what is left of an empty log, and makes sure that nobody has the copy open: a log that
 * appears beneath an open index would not be seen.
 * @throws LockstepError BUSY
 */
export function emptyPlaceForLog(driver: Driver, copy: string): void {
  const connection = driver.open(copy, { timeout: WAIT_MS });
  try {
    connection.all(READ);
  } finally {
    connection.close(); // the last connection removes the log and the index
  }
  assertNobodyHasOpen(copy);
}

/** @throws LockstepError BUSY if a connection is left, which keeps SQLite's log and index */
export function assertNobodyHasOpen(copy: string): void {
  if (!fs.existsSync(`${copy}-wal`) && !fs.existsSync(`${copy}-shm`)) return;
  // SQLite does not say why it left them: one that may not write the file, or not lock it, leaves them, too.
  throw new LockstepError(codes.BUSY, {
    copy,
    what: "Its log or its index is still there when it was closed: another connection has it open, or the system does not let it be written or locked",
    state: "Nothing was lost: its log is still beside it",
    next: "Close that connection, or check the disk and whether the file is writable, and start again",
  });
}

export function busy(copy: string, cause?: unknown): LockstepError {
  return new LockstepError(codes.BUSY, {
    copy,
    what: `Another connection reads or writes it and did not let go in ${WAIT_MS / 1000} seconds`,
    state: "Nothing was lost: its log is still beside it",
    next: "Close that connection and start again",
    ...(cause === undefined ? {} : { cause }),
  });
}
