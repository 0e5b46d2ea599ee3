/**
 * `<file>-lockstep-proof`, beside a replica: when a drill last proved that it restores, and what came
 * of the last try. One JSON object:
 *
 *   format     1
 *   copyId     the copy that was proven, as its record names it; null if it has no record
 *   at         when the last drill ended, in UTC
 *   proven     did it restore?
 *   position   what was restored: `timeline/generation/frame/checksum`; null if that is not known
 *   why        what was wrong; null if it restored
 *   provenAt   when it last did restore; null: never
 *
 * A file of its own: the record (sidecar.ts) is locked by whoever has the replica in use, and a drill
 * is for replicas in use. It is written to a temporary name, synced and renamed, so it is this proof
 * or the one before. It is for people, nothing of the data rests on it: one that makes no sense, or
 * is of another copy that stood here before, counts as none.
 */
import fs from "node:fs";
import path from "node:path";
import { syncDirectory } from "../targets/directory.ts";

export interface Proof {
  /** When the last drill ended, in UTC. */
  readonly at: string;
  /** Did the replica restore? */
  readonly proven: boolean;
  /** What was restored: `timeline/generation/frame/checksum`; null if that is not known. */
  readonly position: string | null;
  /** What was wrong; null if it restored. */
  readonly why: string | null;
  /** When it last did restore; null: never. */
  readonly provenAt: string | null;
}

export function proofPath(copy: string): string {
  return `${copy}-lockstep-proof`;
}

/** The last proof of the copy, which its record calls `copyId`; null if there is none. */
export function readProof(copy: string, copyId: string | null): Proof | null {
  let text: string;
  try {
    text = fs.readFileSync(proofPath(copy), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  return parseProof(text, copyId);
}

/** The same of what was read from there. */
export function parseProof(text: string, copyId: string | null): Proof | null {
  const found = parse(text);
  if (!found || found["format"] !== FORMAT || found["copyId"] !== copyId) return null;
  const { at, proven, position, why, provenAt } = found;
  const isProof =
    isText(at) && typeof proven === "boolean" && [position, why, provenAt].every(isTextOrNull);
  return isProof ? ({ at, proven, position, why, provenAt } as Proof) : null;
}

/** Puts what came of a drill beside the copy; durable when it returns. */
export function writeProof(
  copy: string,
  copyId: string | null,
  outcome: Omit<Proof, "provenAt">,
): void {
  const provenAt = outcome.proven ? outcome.at : (readProof(copy, copyId)?.provenAt ?? null);
  const fresh = `${proofPath(copy)}-${process.pid}`; // two drills may end at the same time
  try {
    const fd = fs.openSync(fresh, "w", 0o644);
    try {
      fs.writeFileSync(fd, `${JSON.stringify({ format: FORMAT, copyId, ...outcome, provenAt })}\n`);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(fresh, proofPath(copy));
  } catch (error) {
    fs.rmSync(fresh, { force: true });
    throw error;
  }
  syncDirectory(path.dirname(copy));
}

// --- internal ---

const FORMAT = 1;

/** Null if it is no JSON object. */
function parse(text: string): Record<string, unknown> | null {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isTextOrNull(value: unknown): boolean {
  return value === null || isText(value);
}
