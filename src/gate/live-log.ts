/**
 * What the primary's log says of its commits while commits go on: read at a few places, never as a whole.
 */
import fs from "node:fs";
import path from "node:path";
import { type Copy, deviceOf } from "../lineage/describe.ts";
import { withPast } from "../lineage/left-at.ts";
import type { Position } from "../lineage/position.ts";
import type { Commit } from "../wal/chain.ts";
import {
  decodeFrameHeader,
  decodeWalHeader,
  FRAME_HEADER_SIZE,
  frameOffset,
  frameSize,
  sameSalts,
  WAL_HEADER_SIZE,
} from "../wal/format.ts";
import type { Primary } from "./primary.ts";

/**
 * What `describe` would say of the primary as far as it was handed over; but of the log's commits only
 * the last and the one at which a replica stands, and no log if the file has all.
 */
export function glance(primary: Primary, replica: Copy): Copy {
  const { path: name, position, index, sidecar } = primary;
  const { state, history } = sidecar;
  const bytes = new Uint8Array(WAL_HEADER_SIZE);
  const isLogged = index.frames > 0 && sameSalts(index, position) && !primary.foldedHere();
  if (isLogged) primary.readLog(bytes, 0, bytes.length, 0);
  const header = isLogged ? decodeWalHeader(bytes) : null;
  const theirs = replica.position;
  const isShared = theirs && sameSalts(theirs, position) && theirs.frame < position.frame;
  const frames = isShared ? [theirs.frame, position.frame] : [position.frame];
  const { generation } = state;
  return withPast({
    path: name,
    file: "present",
    device: deviceOf(path.dirname(name)),
    bytes: fs.statSync(name).size,
    log: header && { header, commits: frames.flatMap((frame) => commitAt(primary, frame) ?? []) },
    state,
    history,
    position,
    base: header && generation && sameSalts(generation, header) ? generation.base : null,
    because: "it is in use here",
  });
}

/** Every commit in the log after `position`, which is in its generation or before it. */
export function commitsAfter(primary: Primary, position: Position): Position[] {
  const isHere = sameSalts(primary.index, position);
  return commitsFrom(primary, isHere ? position.frame + 1 : 1);
}

/** Every commit in the last `bytes` of the log. */
export function lastCommits(primary: Primary, bytes: number): Position[] {
  const { frames, pageSize } = primary.index;
  return commitsFrom(primary, Math.max(1, frames - Math.ceil(bytes / frameSize(pageSize))));
}

/** The first commit at a frame of the log or after it. */
export function firstCommit(primary: Primary, from: number): Position | null {
  return commitsFrom(primary, from, 1)[0] ?? null;
}

function commitsFrom(primary: Primary, first: number, most = Infinity): Position[] {
  const { salt1, salt2, frames } = primary.index;
  const { timeline } = primary.sidecar.state;
  const commits: Position[] = [];
  for (let frame = first; frame <= frames && commits.length < most; frame++) {
    const commit = commitAt(primary, frame);
    if (!commit) continue;
    commits.push({ timeline, salt1, salt2, frame, sum1: commit.sum1, sum2: commit.sum2 });
  }
  return commits;
}

/** The commit that ends with this frame of the log; null if none does. */
function commitAt(primary: Primary, frame: number): Commit | null {
  const bytes = new Uint8Array(FRAME_HEADER_SIZE);
  primary.readLog(bytes, 0, bytes.length, frameOffset(frame, primary.index.pageSize));
  const { commit: pages, sum1, sum2 } = decodeFrameHeader(bytes, 0);
  return pages === 0 ? null : { frame, pages, sum1, sum2 };
}
