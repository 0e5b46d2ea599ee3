/** The payloads that are JSON (segment.ts), read and checked: they may come from anybody. */
import { noSegment, type OpenNote, type SnapshotNote } from "./segment.ts";

/** @throws LockstepError REPLICA_CHANGED */
export function readSnapshotNote(payload: Uint8Array, where: string): SnapshotNote {
  const { object, pages, bytes, sha256, logFrom, install } = fieldsOf(payload, where);
  const holds =
    isText(object) &&
    [pages, bytes, install].every((count) => isCount(count)) &&
    isText(sha256) &&
    /^[\da-f]{64}$/.test(sha256) &&
    (logFrom === null || (isCount(logFrom) && logFrom > 0 && install === 0));
  if (!holds) throw noSense(where);
  return { object, pages, bytes, sha256, logFrom, install } as SnapshotNote;
}

/** @throws LockstepError REPLICA_CHANGED */
export function readOpenNote(payload: Uint8Array, where: string): OpenNote {
  const { how, host, pid, at } = fieldsOf(payload, where);
  const isWay = how === "opened" || how === "promoted";
  if (!isWay || !isText(host) || !isCount(pid) || !isText(at)) throw noSense(where);
  return { how, host, pid, at };
}

export function writeNote(note: SnapshotNote | OpenNote): Uint8Array {
  return Buffer.from(JSON.stringify(note));
}

// --- internal ---

function fieldsOf(payload: Uint8Array, where: string): Record<string, unknown> {
  try {
    const found: unknown = JSON.parse(Buffer.from(payload).toString("utf8"));
    if (typeof found === "object" && found !== null) return found as Record<string, unknown>;
  } catch {
    // as what makes no sense
  }
  throw noSense(where);
}

function noSense(where: string) {
  return noSegment(where, "has a note that makes no sense");
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
