/**
 * Finds rot, and heals it: reads every page of all copies, judges each by the checksums that are kept
 * beside the copies (lineage/sums.ts, lineage/judge.ts), and writes a page that has rotted anew, from a
 * copy in which it has not.
 *
 *   1  lock all copies; if they are not at rest in one position, bring them there, as a start does
 *   2  read and judge all pages; keep what has rotted aside, write what replaces it as a log
 *   3  has nobody written meanwhile? Put each log beside its copy: it takes effect whole or not at all
 *
 * A page that has rotted in every copy, or that differs without a checksum that could tell, is named
 * and not touched. For a process that has none of the databases open, see verify.ts.
 */
import { randomInt } from "node:crypto";
import fs from "node:fs";
import { type Driver, loadDriver } from "./driver.ts";
import { codes, LockstepError } from "./errors.ts";
import { openOnce } from "./gate/open-hub.ts";
import { runBulk } from "./lineage/bulk.ts";
import { describeCopy, isThere, realPath, walPath } from "./lineage/describe.ts";
import { readFingerprint, sameFingerprint } from "./lineage/fingerprint.ts";
import { formatPosition, samePosition } from "./lineage/position.ts";
import { missingCopy } from "./lineage/refusal.ts";
import { completeCutOff, completeWith, freshLog } from "./lineage/resync.ts";
import { rotPath } from "./lineage/rot.ts";
import type { ScrubCopy, ScrubResult } from "./lineage/scrub-pages.ts";
import { Sidecar } from "./lineage/sidecar.ts";
import { purposesOf } from "./scrub/pages.ts";

export interface ScrubOptions {
  /** Called while pages are read, and while the copies are brought together before. */
  readonly onProgress?: (progress: ScrubProgress) => void;
  /** @internal */
  readonly onStep?: (step: string) => void;
}

export interface ScrubProgress {
  readonly phase: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly bytesPerSecond: number;
}

export interface RottenPage {
  /** Its number, from 1. */
  readonly page: number;
  /** The table or index it belongs to, "(free list)" or "(pointer map)"; null if that is not known. */
  readonly owner: string | null;
  /** The paths of the copies in which it had rotted. */
  readonly rotten: readonly string[];
  /** The path of the copy from which it was healed; null: it has rotted in all, nothing was changed. */
  readonly healedFrom: string | null;
}

export interface ScrubReport {
  /** Are all copies, now, equal, and as their checksums say? */
  readonly sound: boolean;
  readonly pages: number;
  /** In bytes. */
  readonly pageSize: number;
  /** Where all copies stand: `timeline/generation/frame/checksum`. */
  readonly position: string;
  /** The pages that had rotted, ascending; the first 10,000 of these and of `different` together. */
  readonly rotten: readonly RottenPage[];
  /** Pages of which no checksum can tell which copy is right; nothing was changed. */
  readonly different: readonly { readonly page: number; readonly owner: string | null }[];
  /** How many pages had rotted in every copy, and how many differ, in all. */
  readonly lost: number;
  readonly differing: number;
  readonly copies: readonly ScrubbedCopy[];
}

export interface ScrubbedCopy {
  readonly path: string;
  /** How many of its pages had rotted and were healed. */
  readonly healed: number;
  /** The file in which those pages are kept as they were; null if there were none. */
  readonly keptAside: string | null;
  /** Its checksums. "held": as they should be. "made": there were none. "rebuilt": they had rotted. */
  readonly sums: "held" | "made" | "rebuilt";
}

/**
 * Scrubs a primary and its replicas; none may be in use.
 * @throws LockstepError, any code of the start; BUSY if another program reads or writes a copy meanwhile:
 *   then nothing was healed
 */
export async function scrub(
  primary: string,
  replicas: readonly string[],
  { onProgress = () => {}, onStep = () => {} }: ScrubOptions = {},
): Promise<ScrubReport> {
  const driver = loadDriver("node:sqlite");
  const paths = [primary, ...replicas].map(realPath);
  for (const path of paths) if (!isThere(path)) throw missingCopy(path);
  const sidecars = lockAtRest(driver, paths, onProgress);
  try {
    for (const path of paths) fs.rmSync(freshLog(path), { force: true });
    const copies = sidecars.map(toScrub);
    const watch = { onProgress, wanted: () => true };
    onStep("read");
    const found = await runBulk({ task: "scrub", copies }, paths[0] as string, watch);
    onStep("judged");
    for (const sidecar of sidecars) assertUntouched(sidecar);
    sidecars.forEach((sidecar, i) => {
      heal(driver, sidecar, copies[i] as ScrubCopy, found, i);
      onStep("healed");
    });
    return report(sidecars, found);
  } finally {
    for (const sidecar of sidecars) sidecar.close();
  }
}

// --- internal ---

/** How many pages an entry of the record names. */
const PAGES_NAMED = 20;

/** Locks all copies, at rest in one position. */
function lockAtRest(
  driver: Driver,
  paths: readonly string[],
  onProgress: (progress: ScrubProgress) => void,
): Sidecar[] {
  const found = lock(driver, paths);
  if (areAtRest(found)) return found;
  for (const sidecar of found) sidecar.close();
  const [primary, ...replicas] = paths as [string, ...string[]];
  openOnce(primary, replicas, onProgress);
  const together = lock(driver, paths);
  if (areAtRest(together)) return together;
  for (const sidecar of together) sidecar.close();
  throw disturbed(paths[0] as string);
}

/** @throws LockstepError LOCKED, SIDECAR; BUSY if a repair that was cut off cannot be completed */
function lock(driver: Driver, paths: readonly string[]): Sidecar[] {
  const sidecars: Sidecar[] = [];
  try {
    paths.forEach((path, i) => {
      const sidecar = Sidecar.open(driver, path, i === 0 ? "primary" : "replica");
      sidecars.push(sidecar);
      completeCutOff(driver, sidecar);
    });
    assertRoles(sidecars);
    return sidecars;
  } catch (error) {
    for (const sidecar of sidecars) sidecar.close();
    throw error;
  }
}

/** To bring them together would promote a replica. @throws LockstepError BAD_OPTION */
function assertRoles([primary, ...replicas]: readonly Sidecar[]): void {
  const known = primary?.state.databaseId !== null && primary?.state.role === "replica";
  const other = replicas.find(({ state }) => state.role === "primary");
  if (!known || !other) return;
  throw new LockstepError(codes.BAD_OPTION, {
    copy: primary.copy,
    what: `It is on record as a replica, and ${other.copy} as its primary`,
    state: "Nothing was read",
    next: "Name the primary first",
  });
}

/** Closed in order, not touched since, and proven to hold the same. */
function areAtRest(sidecars: readonly Sidecar[]): boolean {
  const [first] = sidecars;
  return sidecars.every((sidecar) => {
    const { position } = describeCopy(sidecar.copy, sidecar);
    const { databaseId, folded } = sidecar.state;
    return (
      !fs.existsSync(walPath(sidecar.copy)) &&
      position !== null &&
      databaseId !== null &&
      databaseId === first?.state.databaseId &&
      samePosition(position, first.state.folded?.position ?? position) &&
      folded !== null
    );
  });
}

function toScrub({ copy, state }: Sidecar): ScrubCopy {
  const salts = { salt1: randomInt(0xffffffff), salt2: randomInt(0xffffffff) };
  return { path: copy, sums: state.folded?.sums ?? null, log: freshLog(copy), ...salts };
}

/** @throws LockstepError BUSY if it is not as it was when it was locked */
function assertUntouched({ copy, state }: Sidecar): void {
  const file = readFingerprint(copy);
  const { folded } = state;
  // durable: nothing is healed that another program wrote meanwhile
  if (!file || !folded || !sameFingerprint(file, folded.file) || fs.existsSync(walPath(copy))) {
    throw disturbed(copy);
  }
}

/** Puts the copy's new sums on record, and the log in place that heals it. */
function heal(
  driver: Driver,
  sidecar: Sidecar,
  { salt1, salt2 }: ScrubCopy,
  found: ScrubResult,
  copy: number,
): void {
  const { repaired, sums } = found.copies[copy] as ScrubResult["copies"][number];
  const folded = sidecar.state.folded as NonNullable<typeof sidecar.state.folded>;
  sidecar.update({ folded: { ...folded, sums } });
  if (repaired === 0) return;
  const pages = found.findings.filter(({ rotten, from }) => from !== null && rotten.includes(copy));
  const named = pages.slice(0, PAGES_NAMED).map(({ page }) => page);
  const more = repaired > named.length ? ` … (${repaired} in all)` : "";
  const log = { salt1, salt2, to: folded.position, frames: repaired };
  const event: [string, string] = ["healed", `rotten pages ${named.join(" ")}${more}`];
  completeWith(driver, sidecar, log, {}, { event });
}

function report(sidecars: readonly Sidecar[], found: ScrubResult): ScrubReport {
  const paths = sidecars.map(({ copy }) => copy);
  const { findings, lost, different, pages, pageSize } = found;
  const [primary] = sidecars as [Sidecar];
  const numbers = new Set(findings.map(({ page }) => page));
  const owners = numbers.size > 0 ? purposesOf(primary.copy, numbers) : new Map<number, string>();
  const owner = (page: number): string | null => owners.get(page) ?? null;
  return {
    sound: lost === 0 && different === 0,
    pages,
    pageSize,
    position: formatPosition(
      (primary.state.folded as NonNullable<typeof primary.state.folded>).position,
    ),
    rotten: findings
      .filter(({ is }) => is !== "different")
      .map(({ page, rotten, from }) => ({
        page,
        owner: owner(page),
        rotten: rotten.map((copy) => paths[copy] as string),
        healedFrom: from === null ? null : (paths[from] as string),
      })),
    different: findings
      .filter(({ is }) => is === "different")
      .map(({ page }) => ({ page, owner: owner(page) })),
    lost,
    differing: different,
    copies: found.copies.map(({ repaired, state }, i) => ({
      path: paths[i] as string,
      healed: repaired,
      keptAside: repaired > 0 ? rotPath(paths[i] as string) : null,
      sums: state,
    })),
  };
}

function disturbed(copy: string): LockstepError {
  return new LockstepError(codes.BUSY, {
    copy,
    what: "Another program uses it, or has written it while its pages were read",
    state: "Nothing was healed",
    next: "Close that program and run the command again",
  });
}
