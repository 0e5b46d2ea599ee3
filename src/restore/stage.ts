/**
 * The restored copy, before it has its name: written, synced, read back, checked.
 */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import { Snapshot } from "../verify/snapshot.ts";
import { type VerifyProgress, verify } from "../verify.ts";

export type RestoreProgress =
  | { readonly phase: "copy"; readonly bytesDone: number; readonly bytesTotal: number }
  | VerifyProgress;

/** Writes the image of the database at `from` to the new file `staged`, with its mode; syncs it. */
export function stage(
  from: string,
  staged: string,
  onProgress: (progress: RestoreProgress) => void,
): void {
  fs.rmSync(staged, { force: true }); // of a restore that was interrupted
  const { mode } = fs.statSync(from);
  const snapshot = new Snapshot(from);
  try {
    snapshot.take();
    const fd = fs.openSync(staged, "wx", mode);
    try {
      fs.fchmodSync(fd, mode | 0o200); // a copy from a read-only medium is there to be written
      snapshot.image().writeTo(fd, (bytesDone, bytesTotal) => {
        onProgress({ phase: "copy", bytesDone, bytesTotal });
      });
      fs.fsyncSync(fd); // durable: the restored copy
    } finally {
      fs.closeSync(fd);
    }
  } finally {
    snapshot.close();
  }
}

/**
 * Compares what was written with what it was written from, and has SQLite check it.
 * @throws LockstepError VERIFY
 */
export async function prove(
  from: string,
  staged: string,
  onProgress: (progress: RestoreProgress) => void,
): Promise<{ pages: number; pageSize: number }> {
  const report = await verify(from, staged, { onProgress });
  const { integrity, differing, pages } = report;
  if (!report.identical) {
    throw new LockstepError(codes.VERIFY, {
      copy: staged,
      what: `${differing} of ${pages} pages read back different from the replica's`,
      state: "The replica and the destination were not changed",
      next: "If a program writes the replica, close it; else check both disks; then run it again",
    });
  }
  if (integrity.a !== "ok" || integrity.b !== "ok") {
    const found = integrity.b === "ok" ? integrity.a : integrity.b;
    throw new LockstepError(codes.VERIFY, {
      copy: from,
      what: `The replica is damaged; integrity_check says: ${found?.split("\n")[0]}`,
      state: "The replica and the destination were not changed",
      next: `See all of it: lockstep verify; use another replica, or salvage: sqlite3 ${from} .recover`,
    });
  }
  return { pages, pageSize: report.a.pageSize };
}
