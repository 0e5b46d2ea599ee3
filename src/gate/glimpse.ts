/**
 * A look at a replica from the committing thread, before the mirror's thread runs. If the copies were
 * closed in order and nobody touched them since, the start has nothing to do on the replica, and need
 * not wait for that thread: it locks the replica while the application goes on, and must find there
 * just what was seen here before it confirms anything.
 *
 * Whatever is not seen at a glance, an error included, is left to the thread, which says what it is.
 */
import fs from "node:fs";
import path from "node:path";
import type { Driver } from "../driver.ts";
import { decide } from "../lineage/decide.ts";
import { type Copy, describeCopy } from "../lineage/describe.ts";
import { glimpseSidecar, sidecarPath } from "../lineage/sidecar.ts";

const { R_OK, W_OK, X_OK } = fs.constants;

/** The replica as its file and record show it; null if it is not there, in use, or not writable. */
export function glimpse(driver: Driver, replica: string): Copy | null {
  try {
    fs.accessSync(path.dirname(replica), R_OK | W_OK | X_OK);
    for (const file of [replica, sidecarPath(replica)]) fs.accessSync(file, R_OK | W_OK);
  } catch {
    return null;
  }
  const state = glimpseSidecar(driver, replica);
  return state && describeCopy(replica, { state, history: [] });
}

/** Are the two at rest in one position, so that nothing is to be done and nothing to be recorded? */
export function atRest(primary: Copy, replica: Copy | null): boolean {
  if (!replica || primary.log || replica.log) return false;
  const { relation, action } = decide(primary, replica);
  if (relation !== "in-step" || action.do !== "nothing") return false;
  const { state } = replica;
  if (state?.resync || state?.folding) return false; // something was cut off
  return state?.role === "replica" && state.timeline === primary.state?.timeline;
}
