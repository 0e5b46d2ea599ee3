/**
 * Makes a standby the primary. The old one, should it still run, finds the promotion in the stream before its
 * next commit is acknowledged, and is refused.
 *
 *   1  bring DEST to the stream's end
 *   2  put an open at the stream's end, with a higher timeline: from there on only its writer's messages count
 *   3  bring DEST to that; did it count, or has another promotion come first?
 *   4  record DEST as the primary
 *
 * Cut off before 4 DEST is still a standby, which can be promoted again; the old primary is refused from 2 on.
 */
import { randomBytes } from "node:crypto";
import os from "node:os";
import { loadDriver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { isThere, realPath } from "../lineage/describe.ts";
import { type Position, parsePosition } from "../lineage/position.ts";
import { nothingThere } from "../lineage/refusal.ts";
import { Sidecar } from "../lineage/sidecar.ts";
import type { Keys } from "../stream/keys.ts";
import type { StreamLog } from "../stream/log.ts";
import { writeNote } from "../stream/notes.ts";
import { wrap } from "../stream/seal.ts";
import { encodeSegment, kinds, type SegmentHeader } from "../stream/segment.ts";
import { type FollowProgress, followHeld } from "./follow.ts";
import { refused } from "./refusals.ts";

export interface PromoteOptions {
  readonly keys?: Keys | null;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: FollowProgress) => void;
  /** Names the moment before which a crash may come. @internal */
  readonly onStep?: (step: "marker" | "record") => void | Promise<void>;
}

export interface PromoteReport {
  readonly stream: string;
  readonly dest: string;
  /** Where it stands, with all that was acknowledged: `timeline/generation/frame/checksum`. */
  readonly position: string;
  readonly timeline: number;
  /** The message that fences the old primary. */
  readonly message: number;
}

/**
 * @throws LockstepError FENCED if another promotion came first: DEST is a standby of that one now; IN_DOUBT if it is not
 *   known whether the promotion is in the stream: run it again; else as `follow`
 */
export async function promote(
  log: StreamLog,
  dest: string,
  given: PromoteOptions = {},
): Promise<PromoteReport> {
  const { keys = null, onProgress = () => {}, onStep = () => {} } = given;
  const { signal = new AbortController().signal } = given;
  const file = realPath(dest);
  if (!isThere(file)) throw nothingThere(file, "Check the path; lockstep follow makes one");
  const driver = loadDriver("node:sqlite");
  const sidecar = Sidecar.open(driver, file, "replica");
  try {
    if (sidecar.state.databaseId === null) throw noStandby(file);
    const options = { keys, signal, onProgress, once: true };
    const before = await followHeld(log, driver, sidecar, options);
    await onStep("marker");
    const writer = randomBytes(8).toString("hex");
    const timeline = before.timeline + 1;
    const position = parsePosition(before.position) as Position;
    const header = markerOf({ writer, databaseId: before.databaseId, timeline, position });
    const note = writeNote({
      how: "promoted",
      ...{ host: os.hostname(), pid: process.pid, at: new Date().toISOString() },
    });
    const bytes = encodeSegment(header, wrap(header, note, { keys, compress: false }));
    const message = await log.force(bytes, signal);
    const after = await followHeld(log, driver, sidecar, { ...options, rest: true });
    // durable: of two promotions one wins
    if (after.writer !== writer) throw lost(file, log.name, after.timeline);
    await onStep("record");
    // durable: a standby is the primary only when the old one is fenced
    sidecar.update(
      { role: "primary", stream: null },
      { event: ["promoted", `by message ${message} of ${log.name}, timeline ${timeline}`] },
    );
    return { stream: log.name, dest: file, position: after.position, timeline, message };
  } finally {
    sidecar.close();
  }
}

// --- internal ---

/** It stands where the standby stood; what the old primary has written since lies before it all the same. */
function markerOf({
  writer,
  databaseId,
  timeline,
  position,
}: Pick<SegmentHeader, "writer" | "databaseId" | "timeline"> & {
  readonly position: Position;
}): SegmentHeader {
  const { salt1, salt2, frame, sum1, sum2 } = position;
  return {
    ...{ kind: kinds.OPEN, writer, databaseId, timeline, pageSize: 0, salt1, salt2 },
    ...{ first: frame + 1, frames: 0, base: null, ends: false, place: 0 },
    ...{ before: { sum1, sum2 }, after: { sum1, sum2 } },
  };
}

function noStandby(file: string): LockstepError {
  return refused(
    codes.REPLICA_UNKNOWN,
    file,
    "It has no record of being a standby",
    "Make one from the stream: lockstep follow --once, or lockstep restore",
  );
}

function lost(file: string, stream: string, timeline: number): LockstepError {
  return new LockstepError(codes.FENCED, {
    copy: file,
    what: `Another standby was promoted first, to timeline ${timeline}`,
    state:
      "This promotion does not count; the copy is a standby as before, in step with the stream",
    next: `Use that one as the primary; this copy goes on with: lockstep follow ${stream} ${file}`,
  });
}
