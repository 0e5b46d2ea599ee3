/**
 * What a drill does with the databases, in a process of its own (lineage/child.ts): it can be ended in
 * the middle of a long call into SQLite, and drops nobody's locks.
 *
 *   1  hold primary and replica still, at one position
 *   2  write the replica's image into the scratch directory, as a restore does; sync it
 *   3  read it back, and compare it with the primary page by page; let go of both
 *   4  have SQLite check the copy, and run on it what the user expects
 */
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { loadDriver } from "../driver.ts";
import { beChild, endWithParent, seldom } from "../lineage/be-child.ts";
import { formatPosition } from "../lineage/position.ts";
import { writeImage } from "../restore/stage.ts";
import { look } from "../status.ts";
import { type DifferentPage, integrityOf, nameOwners } from "../verify/owners.ts";
import { type Images, settle } from "../verify/settle.ts";
import { type Snapshot, withSnapshots } from "../verify/snapshot.ts";
import { type Comparison, compare, type Image, withImage } from "../wal/image.ts";
import { assertRunnable, type Expectation, run, secondsSince } from "./expect.ts";
import { noRoom } from "./scratch.ts";

export interface DrillTask {
  readonly primary: string;
  readonly replica: string;
  /** The directory for the restored copy. */
  readonly scratch: string;
  /** SQL of the user's. */
  readonly expectations: readonly string[];
}

export type DrillProgress =
  | {
      readonly phase: "copy" | "compare";
      readonly bytesDone: number;
      readonly bytesTotal: number;
    }
  /** SQLite says nothing on the way. */
  | { readonly phase: "integrity" | "expect" };

/** What the copy turned out to be. */
export interface Worked {
  /** `timeline/generation/frame/checksum`; null if the replica's record does not tell. */
  readonly position: string | null;
  readonly pages: number;
  readonly pageSize: number;
  readonly different: readonly DifferentPage[];
  readonly differing: number;
  /** "ok", or what integrity_check found, one finding a line. */
  readonly integrity: string;
  readonly expectations: readonly Expectation[];
  readonly seconds: {
    readonly copy: number;
    readonly compare: number;
    readonly integrity: number;
    readonly expectations: number;
  };
}

// --- internal ---

type Tell = (progress: DrillProgress, done: boolean) => void;

/** What is known while both copies are still held. */
type Held = Omit<Worked, "integrity" | "expectations"> & Pick<Worked, "seconds">;

async function perform(task: DrillTask, tell: Tell): Promise<Worked> {
  const copy = `${task.scratch}/restored.db`;
  const held = await withSnapshots(task.primary, task.replica, (primary, replica) =>
    restoreAndCompare(primary, replica, copy, task, tell),
  );
  const db = new DatabaseSync(copy, { readOnly: true });
  try {
    tell({ phase: "integrity" }, true);
    let began = performance.now();
    const integrity = integrityOf(db);
    const seconds = { ...held.seconds, integrity: secondsSince(began) };
    if (task.expectations.length > 0) tell({ phase: "expect" }, true);
    began = performance.now();
    // Of an equal copy what cannot be run cannot be run on the primary either: it is the user's.
    if (held.differing === 0) assertRunnable(db, task.replica, task.expectations);
    const expectations = [...run(db, task.expectations)];
    seconds.expectations = secondsSince(began);
    return { ...held, integrity, expectations, seconds };
  } finally {
    db.close();
  }
}

async function restoreAndCompare(
  primary: Snapshot,
  replica: Snapshot,
  copy: string,
  { scratch, expectations }: DrillTask,
  tell: Tell,
): Promise<Held> {
  const seconds = { copy: 0, compare: 0, integrity: 0, expectations: 0 };
  const judge = ({ a, b }: Images): Comparison => {
    if (!primary.mustBeRebuilt) {
      primary.query((db) => assertRunnable(db, primary.path, expectations));
    }
    let began = performance.now();
    copyTo(b, copy, scratch, tell);
    seconds.copy = secondsSince(began);
    began = performance.now();
    const comparison = withImage(copy, (restored) =>
      compare(a, restored, (bytesDone, bytesTotal) =>
        tell({ phase: "compare", bytesDone, bytesTotal }, bytesDone >= bytesTotal),
      ),
    );
    seconds.compare = secondsSince(began);
    return comparison;
  };
  const { images, comparison } = await settle(primary, replica, judge);
  return {
    position: await positionOf(replica.path, images.end),
    pages: images.b.pages,
    pageSize: images.b.pageSize,
    different: nameOwners(comparison.different, primary, replica),
    differing: comparison.differing,
    seconds,
  };
}

/** Writes the copy; over one that was taken at a moment that could not be compared. */
function copyTo(image: Image, copy: string, scratch: string, tell: Tell): void {
  fs.rmSync(copy, { force: true });
  try {
    writeImage(image, copy, (bytesDone, bytesTotal) =>
      tell({ phase: "copy", bytesDone, bytesTotal }, bytesDone >= bytesTotal),
    );
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
    throw noRoom(scratch, image.pages * image.pageSize, null);
  }
}

/** What the replica holds at the end of its log; without one, what its record proves. */
async function positionOf(replica: string, end: Images["end"]): Promise<string | null> {
  const { copy } = await look(loadDriver("node:sqlite"), replica);
  if (!copy.state?.databaseId) return null;
  const content = end ?? copy.position;
  return content && formatPosition({ ...content, timeline: copy.state.timeline });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  endWithParent();
  await beChild<DrillTask, DrillProgress>((task, progress) => perform(task, seldom(progress)));
}
