/**
 * What a copy's record says (sidecar.ts), for whoever does not have its lock: others may be changing it.
 *
 * Run as a program, it prints whose the lock of a copy is.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Connection, type Driver, loadDriver } from "../driver.ts";
import { readAmendment } from "./amendment.ts";
import { descriptorHere } from "./open-here.ts";
import type { Position } from "./position.ts";
import { type Amendment, readEvents, readHistory, readOwner, readRecord } from "./record.ts";
import {
  type Owner,
  type SidecarEvent,
  type SidecarState,
  sidecarError,
  sidecarPath,
} from "./sidecar.ts";

export interface SidecarSnapshot {
  readonly state: SidecarState;
  readonly history: readonly Position[];
  readonly owner: Owner | null;
  readonly events: readonly SidecarEvent[];
}

/** What the sidecar of `copy` says, without a lock; null if there is none. */
export function readSidecar(driver: Driver, copy: string): SidecarSnapshot | null {
  if (!fs.existsSync(sidecarPath(copy))) return null;
  let connection: Connection | null = null;
  try {
    const amendment = readAmendment(copy);
    connection = openUnlocked(driver, sidecarPath(copy));
    return readSnapshot(connection, amendment);
  } catch (error) {
    throw sidecarError(copy, error);
  } finally {
    connection?.close();
  }
}

/** What an open record says; null if it was made, but its first transaction was not committed. */
export function readSnapshot(
  connection: Connection,
  amendment: Amendment | null,
): SidecarSnapshot | null {
  try {
    const record = readRecord(connection, () => amendment);
    if (!record) return null;
    return {
      state: record.state,
      history: readHistory(connection, record.lacking),
      owner: readOwner(connection),
      events: readEvents(connection),
    };
  } catch (error) {
    if (/no such table/.test(String(error))) return null;
    throw error;
  }
}

/**
 * What the sidecar of `copy` says, under SQLite's shared lock for the moment of reading; null if it
 * is not there, is in use, or cannot be read.
 */
export function glimpseSidecar(driver: Driver, copy: string): SidecarState | null {
  const file = sidecarPath(copy);
  if (descriptorHere(file) !== null) return null;
  let connection: Connection | null = null;
  try {
    const amendment = readAmendment(copy);
    connection = driver.open(file, { readOnly: true, timeout: 0 });
    return readRecord(connection, () => amendment)?.state ?? null;
  } catch {
    return null; // whoever locks it finds out why
  } finally {
    connection?.close();
  }
}

// --- internal ---

/** Opens a record past the lock that the copy's user holds. */
function openUnlocked(driver: Driver, file: string): Connection {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > 22 || minor >= 15) {
    return driver.open(`${pathToFileURL(file).href}?immutable=1`, { readOnly: true });
  }
  // Its node:sqlite takes no URI: a copy is read, which is a moment old as well.
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-record-"));
  try {
    const copy = path.join(directory, "record");
    fs.copyFileSync(file, copy);
    return driver.open(copy, { readOnly: true });
  } finally {
    fs.rmSync(directory, { recursive: true }); // the connection keeps its descriptor
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const snapshot = readSidecar(loadDriver("node:sqlite"), process.argv[2] as string);
  process.stdout.write(JSON.stringify(snapshot?.owner ?? null));
}
