/**
 * Moves a database out of the way, whole and under a dated name, so that another may take its
 * place. Whenever it is cut off, the old database can be opened under one of its two names with all
 * that was committed, or neither name opens; a file never stands beside a log of another.
 *
 *   1  copy -wal, -journal and the sidecar to the new name   the old name is whole
 *   2  rename the database file                              the new name is whole
 *   3  put a placeholder at the old name       no program makes an empty database there
 *   4  remove what is left beside the old name
 */
import fs from "node:fs";
import path from "node:path";
import { amendmentPath } from "../lineage/amendment.ts";
import { isThere } from "../lineage/describe.ts";
import { leftPath } from "../lineage/left-at.ts";
import { proofPath } from "../lineage/proof.ts";
import { sidecarPath } from "../lineage/sidecar.ts";
import { sumsPath } from "../lineage/sums.ts";
import { syncDirectory } from "../targets/directory.ts";

/** Where the link leads that stands at a name between its old and its new database: nowhere. */
export const PLACEHOLDER = "restore-was-interrupted/run-lockstep-restore-again";

/** Names the moment before which a crash may come; for tests that stop there. */
export type OnStep = (step: string) => void;

/**
 * Sets the database at `file` aside, with everything beside it; nobody may have it open.
 * @param placeholder leave something at its name that no SQLite will open
 * @returns its new name, or null if there was no database (what stood beside its name is moved too)
 */
export function setAside(file: string, placeholder: boolean, onStep: OnStep): string | null {
  const aside = freshName(file);
  const directory = path.dirname(file);
  const present = isThere(file);
  onStep("copy-logs");
  for (const suffix of BESIDE) copyDurably(`${file}${suffix}`, `${aside}${suffix}`);
  syncDirectory(directory); // durable: the names of what is set aside first
  onStep("move-database");
  if (present) fs.renameSync(file, aside);
  else fs.rmSync(file, { force: true });
  if (placeholder) placePlaceholder(file);
  syncDirectory(directory); // durable: the new name of the database that is set aside
  onStep("drop-logs");
  for (const suffix of [...BESIDE, "-shm"]) fs.rmSync(`${file}${suffix}`, { force: true });
  syncDirectory(directory); // durable: no log of a database that is set aside
  return present ? aside : null;
}

// --- internal ---

const SIDECAR = sidecarPath("");
const RECORD = [SIDECAR, `${SIDECAR}-journal`, amendmentPath(""), leftPath("")];
const BESIDE = ["-wal", "-journal", ...RECORD, sumsPath(""), proofPath("")];

function freshName(file: string): string {
  const date = new Date().toISOString().replace(/[:.]/g, "-");
  return `${file}.set-aside-${date}`;
}

/** Copies a file and syncs it; an empty log says nothing and is left out. */
function copyDurably(from: string, to: string): void {
  if (!isThere(from)) return;
  try {
    fs.copyFileSync(from, to, fs.constants.COPYFILE_EXCL);
    const fd = fs.openSync(to, "r+");
    try {
      fs.fsyncSync(fd); // durable: what is set aside first
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    fs.rmSync(to, { force: true });
    throw error;
  }
}

/**
 * A symbolic link into a directory that is not there: SQLite says "unable to open database file",
 * and whoever looks reads why. Where links cannot be made the name stays empty.
 */
function placePlaceholder(file: string): void {
  try {
    fs.symlinkSync(PLACEHOLDER, file);
  } catch {
    // A file system without links; an empty name is no mixture either.
  }
}
