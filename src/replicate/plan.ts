/**
 * Before a primary that others write is opened: how do its replicas stand to it, and what must be read for
 * them? Looks only: takes no lock, changes nothing.
 *
 * A replica that needs frames alone is brought along by the start. One that needs whole files read comes in
 * afterwards, while the others' commits go on.
 *
 * While nobody followed, the log may have been folded and begun anew: then no record proves what the primary
 * holds. It is what came after what is on record if and only if
 *   (1) each replica's position is proven, and the primary's own record says that it passed through it
 *   (2) its file is the one that the record speaks of, by its inode, as far as that is known
 *   (3) its log has begun anew since: one of a replica's generation that does not vouch for the file would name what
 *       both hold alike
 *   (4) SQLite's counter of changes in its file is not below that in a replica's: an older state, copied over
 *       it, is refused.
 */
import fs from "node:fs";
import type { Driver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { distinct } from "../gate/places.ts";
import { notWal } from "../gate/unopened.ts";
import { decide } from "../lineage/decide.ts";
import { type Copy, describeCopy, realPath } from "../lineage/describe.ts";
import { readFingerprint } from "../lineage/fingerprint.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import { refusal } from "../lineage/refusal.ts";
import { readSidecar } from "../lineage/unlocked.ts";
import { closeUnused } from "../targets/file.ts";
import { sameSalts } from "../wal/format.ts";
import { readFully } from "../wal/scan.ts";

export interface Plan {
  /** Replicas that come in after the start, and why. */
  readonly later: ReadonlyMap<string, LockstepError>;
  /** Where replicas stand that lie in the primary's past; null: its past is not what its record says. */
  readonly past: readonly Position[] | null;
}

/** @throws LockstepError NOT_A_DATABASE, NOT_WAL; what the start's table refuses without reading pages */
export function planFor(driver: Driver, primary: string, replicas: readonly string[]): Plan {
  const P = look(driver, realPath(primary));
  const copies = replicas.map((path) => ({ path, R: look(driver, realPath(path)) }));
  distinct([P.path, ...copies.map(({ R }) => R.path)]);
  const isThere = copies.some(({ R }) => R.file === "present");
  if (P.file === "missing") {
    if (!isThere) throw nothingThere(P.path);
    return { later: new Map(), past: null }; // the start refuses
  }
  assertWal(P.path);
  const later = new Map<string, LockstepError>();
  const past: Position[] = [];
  for (const { path, R } of copies) {
    const decision = decide(P, R);
    const { action } = decision;
    if (action.do === "copy") later.set(path, lacking(path, "There is no replica yet"));
    if (action.do === "delta") later.set(path, lacking(path, "It is older than the log"));
    if (action.do !== "compare" && action.do !== "compare-at") continue;
    if (P.position !== null || !isPast(P, R)) {
      const relation = action.do === "compare" ? action.otherwise : "diverged";
      throw refusal(P, R, { ...decision, relation });
    }
    past.push(R.position as Position);
    later.set(path, lacking(path, "The log was begun anew while nobody followed"));
  }
  return { later, past: past.length > 0 || isSameFile(P) ? past : null };
}

// --- internal ---

function look(driver: Driver, file: string): Copy {
  return describeCopy(file, readSidecar(driver, file));
}

/** What the header says that SQLite reads and writes the file with; of a log that stays, the mode too. */
function assertWal(file: string): void {
  const header = firstBytes(file);
  if (header.length < HEADER_SIZE || header.toString("latin1", 0, 15) !== "SQLite format 3") {
    throw new LockstepError(codes.NOT_A_DATABASE, {
      copy: file,
      what: "The file does not begin like a SQLite database",
      state: "It was only read",
      next: "Check the path",
    });
  }
  if (header[18] !== WAL_MODE || header[19] !== WAL_MODE) throw notWal(file);
}

/** Of the file's header: the mode is at 18 and 19, the counter of changes at 24. */
const HEADER_SIZE = 100;
const WAL_MODE = 2;
const CHANGES_AT = 24;

function firstBytes(file: string): Buffer {
  const fd = fs.openSync(file, "r");
  try {
    const bytes = Buffer.alloc(HEADER_SIZE);
    return bytes.subarray(0, readFully(fd, bytes, 0, HEADER_SIZE, 0));
  } finally {
    closeUnused(file, fd); // others in this process may have it open: closing would drop their locks
  }
}

function isPast(P: Copy, R: Copy): boolean {
  const position = R.position;
  if (!P.state || !position || R.state?.databaseId !== P.state.databaseId) return false;
  if (P.state.databaseId === null || P.state.role !== "primary") return false;
  // durable: what a log is named by names no content that it does not lead to
  if (P.log && sameSalts(P.log.header, position)) return false;
  const { generation, folded } = P.state;
  const isOnRecord =
    (generation !== null && sameSalts(generation, position)) ||
    [...P.history, folded?.position].some((each) => each && samePosition(each, position));
  return isOnRecord && isSameFile(P) && changes(P.path) >= changes(R.path);
}

function isSameFile({ path, state }: Copy): boolean {
  const known = state?.folded?.file.inode ?? null;
  return state?.databaseId != null && (known === null || readFingerprint(path)?.inode === known);
}

function changes(file: string): number {
  const header = firstBytes(file);
  return header.length < HEADER_SIZE ? 0 : header.readUInt32BE(CHANGES_AT);
}

function lacking(copy: string, what: string): LockstepError {
  return new LockstepError(codes.PRIMARY_CHANGED, {
    copy,
    what,
    state: "It is being brought to what the primary holds, while others' commits go on",
    next: "Wait until it is in step",
  });
}

function nothingThere(copy: string): LockstepError {
  return new LockstepError(codes.NOT_A_DATABASE, {
    copy,
    what: "There is no database to follow",
    state: "Nothing was changed",
    next: "Check the path; the program that writes it makes it",
  });
}
