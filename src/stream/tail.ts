/**
 * Where a stream stands, found from its end: a few messages are read, however long it is. What counts and
 * what does not is told in segment.ts.
 */
import { codes, LockstepError } from "../errors.ts";
import type { Position } from "../lineage/position.ts";
import type { Keys } from "./keys.ts";
import type { StreamLog } from "./log.ts";
import { unwrap } from "./seal.ts";
import { decodeSegment, isInPlace, noSegment, positionOf, type SegmentHeader } from "./segment.ts";

/** The end of a stream. */
export interface Tail {
  /** The last message; 0: there is none. */
  readonly last: number;
  readonly databaseId: string | null;
  readonly timeline: number;
  /** What counts; null if nothing does yet. */
  readonly position: Position | null;
  readonly pageSize: number;
  /** The content under the generation's first frame, if that is on record. */
  readonly base: Position | null;
}

/**
 * Reads backwards to the last segment that says by itself where the stream stands. What it looks at is opened: so
 * nobody goes on in a stream with other keys than it was written with, or without.
 * @throws LockstepError REPLICA_CHANGED if somebody else has written there, or it is not sealed and there are keys;
 *   BAD_OPTION if it takes keys that are not given; REPLICA_GONE
 */
export async function readTail(log: StreamLog, keys: Keys | null): Promise<Tail> {
  const { first, last } = await log.ends();
  let timeline = 0;
  let databaseId: string | null = null;
  for (let sequence = last; sequence >= first && sequence > 0; sequence--) {
    const header = await headerAt(log, sequence, keys);
    databaseId = header.databaseId;
    // A promotion that is void has not raised it: but then the one before it stands as high.
    timeline = Math.max(timeline, header.timeline);
    if (!header.ends) continue;
    const { pageSize, base } = header;
    return { last, databaseId, timeline, position: positionOf(header), pageSize, base };
  }
  return { last, databaseId, timeline, position: null, pageSize: 0, base: null };
}

// --- internal ---

async function headerAt(
  log: StreamLog,
  sequence: number,
  keys: Keys | null,
): Promise<SegmentHeader> {
  const entry = await log.at(sequence);
  const where = `${log.name} message ${sequence}`;
  if (entry) {
    const { header, wrapped } = decodeSegment(entry.bytes, where);
    if (!isInPlace(header, sequence)) throw noSegment(where, "was written for another place");
    // durable: nothing is written with other keys than what stands before it
    unwrap(header, wrapped, keys, where);
    return header;
  }
  throw new LockstepError(codes.REPLICA_GONE, {
    copy: log.name,
    what: `Message ${sequence} of the stream cannot be found`,
    state: "Nothing was written to it",
    next: "See whether somebody removed it, and whether all its servers are up; then open again",
  });
}
