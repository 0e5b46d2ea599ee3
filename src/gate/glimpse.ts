/**
 * A look at a replica from the committing thread, before the mirror's thread runs. If the copies were
 * closed in order and nobody touched them since, the start has nothing to do on the replica, and need
 * not wait for that thread: it locks the replica while the application goes on, and must find there
 * just what was seen here before it confirms anything.
 *
 * Whatever is not seen at a glance, an error included, is left to the thread, which says what it is.
 * So is a replica on a network file system: there a read may hang for ever, and only a thread of its
 * own has a deadline.
 */
import fs from "node:fs";
import path from "node:path";
import { isStream } from "../address.ts";
import type { Driver } from "../driver.ts";
import { decide } from "../lineage/decide.ts";
import { type Copy, describeCopy, walPath } from "../lineage/describe.ts";
import { samePosition } from "../lineage/position.ts";
import { sidecarPath } from "../lineage/sidecar.ts";
import { glimpseSidecar } from "../lineage/unlocked.ts";
import type { Primary } from "./primary.ts";

const { R_OK, W_OK, X_OK } = fs.constants;

/** The `f_type` of Linux' local file systems: ext2 to 4, XFS, Btrfs, F2FS, ZFS, tmpfs, overlayfs. */
const LOCAL = [0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1, 0x01021994, 0x794c7630];

/**
 * What can be told of a replica before its thread runs: a glimpse, if it may be at rest, and whether whole files will
 * have to be read.
 */
export function lookAhead(
  driver: Driver,
  primary: Primary,
  replica: string,
  mayRest: boolean,
): readonly [Copy | null, boolean] {
  const glimpsed = mayRest ? glimpse(driver, replica) : null;
  return [glimpsed, expectsBulk(primary, replica, glimpsed)];
}

/** The replica as file and record show it; null if it is not there, in use, not local, not writable, no file. */
export function glimpse(driver: Driver, replica: string): Copy | null {
  if (isStream(replica)) return null;
  try {
    const directory = path.dirname(replica);
    if (!isLocal(directory)) return null;
    if (fs.existsSync(walPath(replica))) return null;
    fs.accessSync(directory, R_OK | W_OK | X_OK);
    for (const file of [replica, sidecarPath(replica)]) fs.accessSync(file, R_OK | W_OK);
    const state = glimpseSidecar(driver, replica);
    return state && describeCopy(replica, { state, history: [] });
  } catch {
    return null; // the thread says what it is
  }
}

/**
 * Will whole files have to be read for the replica? Where this is wrong, a process is begun for nothing, or
 * waited for as it begins.
 */
export function expectsBulk(primary: Primary, replica: string, glimpsed: Copy | null): boolean {
  if (isStream(replica) || primary.foreign) return false;
  try {
    if (!glimpsed) return isLocal(path.dirname(replica)) && !fs.existsSync(replica);
    const { folded } = primary.sidecar.state;
    const { position } = glimpsed;
    if (folded && position && samePosition(folded.position, position)) return false;
    return ["copy", "delta", "compare"].includes(decide(primary.describe(), glimpsed).action.do);
  } catch {
    return false; // the start says what it is
  }
}

/** Are the two at rest in one position, so that nothing is to be done and nothing to be recorded? */
export function atRest(primary: Copy, replica: Copy): boolean {
  if (primary.log || replica.log || primary.state?.role !== "primary") return false;
  const { relation, action } = decide(primary, replica);
  if (relation !== "in-step" || action.do !== "nothing") return false;
  const { state } = replica;
  if (state?.resync || state?.folding) return false; // something was cut off
  return state?.role === "replica" && state.timeline === primary.state?.timeline;
}

// --- internal ---

function isLocal(directory: string): boolean {
  return LOCAL.includes(fs.statfsSync(directory).type);
}
