/**
 * Do two copies hold the same database? Page by page, what a reader of each would see, and what
 * SQLite's own integrity_check says of it. Writes neither, and makes no file beside them.
 *
 * Live copies are held still with a read transaction each (verify/snapshot.ts). The two cannot be
 * taken at one instant: a commit may land in between. While both stand in the same generation of
 * the log, the one that is ahead is cut back to the other's last commit; where that cannot be told
 * for certain (the file was checkpointed past the cut), or the copies were caught in different
 * generations, they are taken anew. "Different" is said only of states that belong together.
 *
 * For a process that has neither database open: closing the descriptors used here would drop the
 * locks of its connections.
 */
import { setTimeout as delay } from "node:timers/promises";
import { codes, LockstepError } from "./errors.ts";
import { integrityOf, ownersOf } from "./verify/owners.ts";
import { Snapshot } from "./verify/snapshot.ts";
import { sameSalts, sameSums } from "./wal/format.ts";
import { type ByteProgress, type Comparison, compare, type Image } from "./wal/image.ts";

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

export interface DifferentPage {
  /** Its number, from 1. */
  readonly page: number;
  /** The table or index it belongs to; null if to none: a free page, or a tree that is damaged. */
  readonly owner: string | null;
}

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
  const left = new Snapshot(a);
  try {
    const right = new Snapshot(b);
    try {
      if (left.identity === right.identity) throw oneFile(a, b);
      return await verifySnapshots(left, right, options);
    } finally {
      right.close();
    }
  } finally {
    left.close();
  }
}

// --- internal ---

/** How often the copies are taken anew before we give up. */
const ATTEMPTS = 6;
const BETWEEN_ATTEMPTS_MS = 250;
/** How long a copy that is behind in the same generation gets to catch up. */
const CATCH_UP_MS = 1000;
const CATCH_UP_STEP_MS = 20;

async function verifySnapshots(
  left: Snapshot,
  right: Snapshot,
  { onProgress = () => {}, integrity = true }: VerifyOptions,
): Promise<VerifyReport> {
  const progress: ByteProgress = (bytesDone, bytesTotal) =>
    onProgress({ phase: "compare", bytesDone, bytesTotal });
  const { images, comparison } = await settle(left, right, progress);
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
    different: name(comparison, left, right),
    differing: comparison.differing,
    integrity: { a: checked(left, right), b: checked(right, left) },
    a: side(images.a),
    b: side(images.b),
  };
}

interface Settled {
  readonly images: Images;
  readonly comparison: Comparison;
}

/** Compares until the outcome is certain. */
async function settle(left: Snapshot, right: Snapshot, progress: ByteProgress): Promise<Settled> {
  for (let attempt = 1; ; attempt++) {
    left.take();
    right.take();
    const images = await align(left, right);
    const comparison = compare(images.a, images.b, progress);
    const disturbed = left.disturbed || right.disturbed;
    if (!disturbed && isCertain(comparison, images)) return { images, comparison };
    await delay(BETWEEN_ATTEMPTS_MS);
    // A difference between two copies of which one at least stands still will not go away, but a
    // commit that was on its way to the other gets a moment to arrive.
    const moved = [left.moved, right.moved].filter(Boolean).length;
    if (!disturbed && (moved === 0 || (moved === 1 && attempt > 1))) return { images, comparison };
    if (attempt === ATTEMPTS) throw neverStill(left.path, right.path);
  }
}

interface Images {
  readonly a: Image;
  readonly b: Image;
  /** Do the two end at the same frame of the same generation? */
  readonly aligned: boolean;
}

/** The images of both, cut to their common frame if they have one. */
async function align(left: Snapshot, right: Snapshot): Promise<Images> {
  const until = performance.now() + CATCH_UP_MS;
  for (;;) {
    const [l, r] = [left.log, right.log];
    if (!l || !r || !sameSalts(l.header, r.header)) break;
    if (l.end.frame === r.end.frame) return { a: left.image(), b: right.image(), aligned: true };
    const [behind, goal] = l.end.frame < r.end.frame ? [left, r.end] : [right, l.end];
    if (performance.now() > until) break;
    await delay(CATCH_UP_STEP_MS);
    behind.take();
    // Usually it has passed the other, which is still held where it was: cut it back to there.
    const cut = behind.log?.transactions.find(({ commit }) => commit.frame === goal.frame)?.commit;
    if (!cut || !behind.log || !sameSalts(behind.log.header, l.header)) continue;
    if (!sameSums(cut, goal)) break;
    const a = left.image(behind === left ? cut.frame : undefined);
    const b = right.image(behind === right ? cut.frame : undefined);
    return { a, b, aligned: true };
  }
  return { a: left.image(), b: right.image(), aligned: false };
}

/** Equal states are equal, wherever they were met; a difference counts between aligned images. */
function isCertain({ differing, different }: Comparison, { a, b, aligned }: Images): boolean {
  if (differing === 0) return true;
  if (!aligned) return false;
  return different.some((page) => !a.doubtful.has(page) && !b.doubtful.has(page));
}

/** SQLite's check; once more if somebody began to write a copy that nobody had open. */
function check(snapshot: Snapshot): string {
  const found = snapshot.query(integrityOf);
  if (!snapshot.disturbed) return found;
  snapshot.take();
  return snapshot.query(integrityOf);
}

/** A page that belongs to nothing in the first copy may belong to something in the second. */
function name({ different }: Comparison, left: Snapshot, right: Snapshot): DifferentPage[] {
  if (different.length === 0) return [];
  const owners = left.query((db) => ownersOf(db, new Set(different)));
  const rest = new Set(different.filter((page) => !owners.has(page)));
  const others = rest.size > 0 ? right.query((db) => ownersOf(db, rest)) : owners;
  return different.map((page) => ({ page, owner: owners.get(page) ?? others.get(page) ?? null }));
}

function side({ path, pageSize, pages }: Image): Side {
  return { path, pageSize, pages };
}

function oneFile(a: string, b: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: b,
    what: `It is the same file as ${a}`,
    state: "Nothing was read",
    next: "Name two copies",
  });
}

function neverStill(a: string, b: string): LockstepError {
  return new LockstepError(codes.BUSY, {
    copy: b,
    what: `It and ${a} were written so fast that no common state of theirs was met`,
    state: "Nothing was changed; whether they are equal is not known",
    next: "Run the command again when there is less to write",
  });
}
