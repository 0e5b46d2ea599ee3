/**
 * Folds a copy's whole log into its file while nobody else uses it, and records what the file then
 * holds. The record is made while the log is still there: a crash in between loses no proof.
 */
import type { Driver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { checkpoint } from "../targets/file.ts";
import { stampFingerprint } from "./fingerprint.ts";
import type { Position } from "./position.ts";
import type { Sidecar, SidecarState } from "./sidecar.ts";

const WAIT_MS = 5000;

/**
 * @param position what the copy holds, log and file together
 * @param change what else becomes true in the same record
 * @throws LockstepError BUSY if a reader or writer does not let go within 5 s
 */
export function foldAndRecord(
  driver: Driver,
  sidecar: Sidecar,
  position: Position,
  change: Partial<SidecarState> = {},
  note: Parameters<Sidecar["update"]>[1] = {},
): void {
  const { copy } = sidecar;
  const connection = driver.open(copy, { timeout: WAIT_MS });
  try {
    connection.exec("PRAGMA synchronous=FULL");
    connection.exec("PRAGMA wal_autocheckpoint=0");
    // durable: a checkpoint is under way, alone
    if (!sidecar.state.folding) sidecar.update({ folding: true });
    const full = checkpoint(connection, "RESTART");
    if (full.busy || full.log !== full.checkpointed) throw busy(copy);
    const file = stampFingerprint(copy);
    // durable, in this order: the record while the log stands
    sidecar.update({ ...change, folding: false, folded: { position, file } }, note);
    const truncated = checkpoint(connection, "TRUNCATE");
    if (truncated.busy) throw busy(copy);
  } finally {
    connection.close();
  }
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
