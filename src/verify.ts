/**
 * Do two copies hold the same database? Page by page, what a reader of each would see, and what
 * SQLite's own integrity_check says of it. Writes neither, and makes no file beside them.
 *
 * Live copies are held still with a read transaction each (verify/snapshot.ts), at one state
 * (verify/settle.ts). "Different" is said only of states that belong together.
 *
 * For a process that has neither database open: closing the descriptors used here would drop the
 * locks of its connections.
 */
import { type DifferentPage, integrityOf, nameOwners } from "./verify/owners.ts";
import { settle } from "./verify/settle.ts";
import { type Snapshot, withSnapshots } from "./verify/snapshot.ts";
import { type ByteProgress, compare, type Image } from "./wal/image.ts";

export type { DifferentPage } from "./verify/owners.ts";

export interface VerifyOptions {
  /** Called while pages are compared and before each integrity_check. */
  readonly onProgress?: (progress: VerifyProgress) => void;
  /** Run `PRAGMA integrity_check` on both? Default true. */
  readonly integrity?: boolean;
}

export type VerifyProgress =
  | { readonly phase: "compare"; readonly bytesDone: number; readonly bytesTotal: number }
  /** `path` is what SQLite checks now; it says nothing on the way. */
  | { readonly phase: "integrity"; readonly path: string };

export interface VerifyReport {
  /** Is every page of one equal to that of the other, and their number? */
  readonly identical: boolean;
  /** How many pages the larger one has. */
  readonly pages: number;
  /** The pages that differ, ascending; the first 10,000. Page 1 alone if the page sizes differ. */
  readonly different: readonly DifferentPage[];
  /** How many differ in all. */
  readonly differing: number;
  /** Per copy "ok", or what integrity_check found, one finding a line; null if it was not asked. */
  readonly integrity: { readonly a: string | null; readonly b: string | null };
  /** What was compared: sizes in bytes and in pages. */
  readonly a: Side;
  readonly b: Side;
}

export interface Side {
  readonly path: string;
  readonly pageSize: number;
  readonly pages: number;
}

/**
 * Compares the databases at two paths.
 * @throws LockstepError NOT_A_DATABASE, BAD_OPTION (both are one file), BUSY (held exclusively, or
 *   written so fast that no common state was met), VERIFY (a hot journal, a foreign log)
 */
export async function verify(
  a: string,
  b: string,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  return withSnapshots(a, b, (left, right) => verifySnapshots(left, right, options));
}

// --- internal ---

async function verifySnapshots(
  left: Snapshot,
  right: Snapshot,
  { onProgress = () => {}, integrity = true }: VerifyOptions,
): Promise<VerifyReport> {
  const progress: ByteProgress = (bytesDone, bytesTotal) =>
    onProgress({ phase: "compare", bytesDone, bytesTotal });
  const { images, comparison } = await settle(left, right, ({ a, b }) => compare(a, b, progress));
  const identical = comparison.differing === 0;
  const checked = (snapshot: Snapshot, other: Snapshot): string | null => {
    if (!integrity) return null;
    // Equal pages are equally sound: no need to copy a database in order to hear it twice.
    const one = identical && snapshot.mustBeRebuilt && !other.mustBeRebuilt ? other : snapshot;
    onProgress({ phase: "integrity", path: one.path });
    return check(one);
  };
  return {
    identical,
    pages: comparison.pages,
    different: nameOwners(comparison.different, left, right),
    differing: comparison.differing,
    integrity: { a: checked(left, right), b: checked(right, left) },
    a: side(images.a),
    b: side(images.b),
  };
}

/** SQLite's check; once more if somebody began to write a copy that nobody had open. */
function check(snapshot: Snapshot): string {
  const found = snapshot.query(integrityOf);
  if (!snapshot.disturbed) return found;
  snapshot.take();
  return snapshot.query(integrityOf);
}

function side({ path, pageSize, pages }: Image): Side {
  return { path, pageSize, pages };
}
