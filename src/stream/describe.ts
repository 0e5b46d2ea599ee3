/**
 * A stream as the start's table sees it (lineage/decide.ts): a copy whose log is the stream. It has no file and no
 * record beside it; what it says of itself stands in its last messages.
 */
import type { Copy } from "../lineage/describe.ts";
import type { Position } from "../lineage/position.ts";
import { FORMAT } from "../lineage/record.ts";
import type { SidecarState } from "../lineage/sidecar.ts";
import type { Commit } from "../wal/chain.ts";
import {
  decodeFrameHeader,
  FRAME_HEADER_SIZE,
  frameSize,
  sameSalts,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "../wal/format.ts";
import type { Keys } from "./keys.ts";
import type { StreamLog } from "./log.ts";
import { unwrap } from "./seal.ts";
import { decodeSegment, kinds, positionOf, type SegmentHeader } from "./segment.ts";
import type { Tail } from "./tail.ts";

/** What the end of a stream says: all that is needed if the primary stands there, or before it in its own past. */
export function copyOf(name: string, tail: Tail): Copy {
  const { position } = tail;
  const commits = position
    ? [{ frame: position.frame, pages: 0, sum1: position.sum1, sum2: position.sum2 }]
    : [];
  return describe(name, tail, commits, []);
}

/**
 * The same with all commits that it still holds of its last generation, and where it stood before: it takes reading
 * all of it.
 */
export async function deepCopyOf(
  log: StreamLog,
  name: string,
  tail: Tail,
  keys: Keys | null,
  onMessage: () => void = () => {},
): Promise<Copy> {
  const commits: Commit[] = [];
  const history: Position[] = [];
  const { first } = await log.ends();
  for await (const { sequence, bytes } of log.read(first, { to: tail.last })) {
    const where = `${log.name} message ${sequence}`;
    const { header, wrapped } = decodeSegment(bytes, where);
    onMessage();
    if (header.ends) history.push(positionOf(header));
    const isLast = tail.position && sameSalts(header, tail.position);
    if (header.kind !== kinds.FRAMES || !isLast) continue;
    commits.push(...commitsIn(header, unwrap(header, wrapped, keys, where)));
  }
  return describe(name, tail, commits, history);
}

// --- internal ---

function describe(
  name: string,
  { databaseId, timeline, position, pageSize, base }: Tail,
  commits: readonly Commit[],
  history: readonly Position[],
): Copy {
  const state: SidecarState = {
    ...{ format: FORMAT, databaseId, copyId: name, role: "replica", timeline },
    generation: position && { salt1: position.salt1, salt2: position.salt2, base },
    ...{ folded: null, folding: false, resync: null, apart: [], detached: [] },
  };
  return {
    ...{ path: name, file: position ? "present" : "missing", bytes: 0, device: null },
    log: position && { header: headerOf(position, pageSize), commits },
    ...{ state: databaseId === null ? null : state, history, position, base },
    because: position ? "its last message" : "it holds nothing yet",
  };
}

/** Of the log that a stream carries what the table asks for. */
function headerOf({ salt1, salt2 }: Position, pageSize: number): WalHeader {
  return { salt1, salt2, pageSize, bigEndian: false, checkpoint: 0, sum1: 0, sum2: 0 };
}

function commitsIn({ first, frames, pageSize }: SegmentHeader, payload: Uint8Array): Commit[] {
  const commits: Commit[] = [];
  let at = first === 1 ? WAL_HEADER_SIZE : 0;
  for (let frame = first; frame < first + frames; frame++, at += frameSize(pageSize)) {
    const {
      commit: pages,
      sum1,
      sum2,
    } = decodeFrameHeader(payload.subarray(at, at + FRAME_HEADER_SIZE), 0);
    if (pages > 0) commits.push({ frame, pages, sum1, sum2 });
  }
  return commits;
}
