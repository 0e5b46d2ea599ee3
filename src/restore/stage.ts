/**
 * The restored copy, before it has its name: written, synced, read back, checked.
 */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import { Snapshot } from "../verify/snapshot.ts";
import { type VerifyProgress, verify } from "../verify.ts";
import type { ByteProgress, Image } from "../wal/image.ts";

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
  const snapshot = new Snapshot(from);
  try {
    snapshot.take();
    writeImage(snapshot.image(), staged, (bytesDone, bytesTotal) => {
      onProgress({ phase: "copy", bytesDone, bytesTotal });
    });
  } finally {
    snapshot.close();
  }
}

/** Writes an image to a new file, with the mode of the file that it is of; syncs it. */
export function writeImage(image: Image, to: string, progress: ByteProgress): void {
  const { mode } = fs.statSync(image.path);
  const fd = fs.openSync(to, "wx", mode);
  try {
    fs.fchmodSync(fd, mode | 0o200); // a copy from a read-only medium is there to be written
    image.writeTo(fd, progress);
    fs.fsyncSync(fd); // durable: the restored copy
  } finally {
    fs.closeSync(fd);
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
