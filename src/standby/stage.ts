/**
 * A copy out of a stream, under a name of its own: the image of a snapshot, and over it the pages of every
 * transaction up to the target. Synced, all of it verified: the image by its digest, the rest by the chain. While the
 * image is fetched, verified and written, the messages behind it are read already; each is looked at in its turn.
 */
import fs from "node:fs";
import type { Position } from "../lineage/position.ts";
import { Ahead } from "../stream/ahead.ts";
import type { Start, Target } from "../stream/find.ts";
import type { Keys } from "../stream/keys.ts";
import type { Entry, StreamLog } from "../stream/log.ts";
import { type LogOf, type Piece, Reading } from "../stream/reading.ts";
import { readSnapshot } from "../stream/snapshots.ts";
import { wholes } from "../stream/transactions.ts";
import type { Commit } from "../wal/chain.ts";
import {
  FRAME_HEADER_SIZE,
  frameSize,
  sameSalts,
  sameSums,
  WAL_HEADER_SIZE,
} from "../wal/format.ts";
import { writeFully } from "../wal/scan.ts";
import { notThere } from "./refusals.ts";

/** How far it is. */
export type StageProgress = (progress: {
  readonly phase: "snapshot" | "replay";
  /** Bytes of the snapshot; messages of what is replayed. */
  readonly done: number;
  readonly total: number;
}) => void;

export interface Staged {
  readonly databaseId: string;
  /** What the file holds. */
  readonly position: Position;
  /** The log that leads there, as far as it is in the stream. */
  readonly log: LogOf | null;
  readonly pageSize: number;
  readonly pages: number;
  /** When the message with the last commit was taken. */
  readonly time: Date;
}

export interface StageOptions {
  readonly keys: Keys | null;
  readonly onProgress: StageProgress;
  readonly signal: AbortSignal;
}

/**
 * @param file a new file
 * @throws LockstepError VERIFY if a snapshot is damaged; REPLICA_CHANGED if the stream is; REPLICA_GONE if it
 *   does not lead there
 */
export async function stageFrom(
  log: StreamLog,
  start: Start,
  target: Target,
  file: string,
  options: StageOptions,
): Promise<Staged> {
  fs.rmSync(file, { force: true }); // of one that was interrupted
  const fd = fs.openSync(file, "wx+", 0o644);
  const messages = log.read(start.from, { to: target.to });
  const entries = new Ahead(messages, ({ bytes }) => bytes.length, AHEAD_BYTES);
  try {
    await writeImage(log, start, fd, options);
    const staged = await replay(log, entries, start, target, fd, options);
    fs.ftruncateSync(fd, staged.pages * staged.pageSize);
    fs.fsyncSync(fd); // durable: a copy out of a stream
    return staged;
  } finally {
    fs.closeSync(fd);
    await entries.stop();
  }
}

// --- internal ---

/** How much of the messages may wait for the image. */
const AHEAD_BYTES = 32 << 20;

async function writeImage(
  log: StreamLog,
  { snapshot: { note } }: Start,
  fd: number,
  { keys, onProgress, signal }: StageOptions,
): Promise<void> {
  let at = 0;
  for await (const piece of readSnapshot(log, note, keys)) {
    signal.throwIfAborted();
    writeFully(fd, piece, 0, piece.length, at);
    at += piece.length;
    onProgress({ phase: "snapshot", done: at, total: note.bytes });
  }
}

async function replay(
  log: StreamLog,
  entries: AsyncIterable<Entry>,
  { snapshot, from }: Start,
  { to, position: target }: Target,
  fd: number,
  { keys, onProgress, signal }: StageOptions,
): Promise<Staged> {
  const { pageSize } = snapshot;
  let { position } = snapshot;
  let { pages } = snapshot.note;
  let { time } = snapshot;
  const isAt = (p: Position): boolean =>
    target !== null && sameSalts(p, target) && p.frame === target.frame && sameSums(p, target);
  /** From the snapshot's position on what is read leads further; until then only to it. */
  let isReached = snapshot.note.logFrom === null && snapshot.note.install === 0;
  let isDone = isReached && isAt(position);
  const reading = new Reading(log.name, from, keys);
  for await (const whole of wholes(log, entries, reading, keys)) {
    signal.throwIfAborted();
    if (isDone) break;
    if (whole.taken.is === "open") position = { ...position, timeline: reading.state.timeline };
    if (whole.snapshot && whole.snapshot.sequence !== snapshot.sequence) {
      throw notThere(log.name, "it began anew at a snapshot behind the one that was taken");
    }
    for await (const piece of whole.pieces()) {
      if (piece.header.first === 1) fs.ftruncateSync(fd, pages * pageSize);
      const end = applied(fd, piece, target);
      if (!end) continue;
      pages = end.pages;
      const { timeline, salt1, salt2 } = piece.header;
      const { frame, sum1, sum2 } = end;
      const now = { timeline, salt1, salt2, frame, sum1, sum2 };
      isReached ||= passes(piece, snapshot.position);
      if (isReached) [position, time] = [now, whole.time];
      isDone = isAt(now);
      if (isDone) break;
    }
    const total = Math.max(to - from + 1, 1);
    onProgress({ phase: "replay", done: whole.sequence - from + 1, total });
  }
  if (!isReached || (target && !isDone)) throw notThere(log.name, "it does not lead there");
  const { databaseId, log: logOf } = reading.state;
  const isInLog = logOf !== null && sameSalts(logOf.header, position);
  return {
    databaseId: databaseId as string,
    ...{ position, pageSize, pages, time, log: isInLog ? logOf : null },
  };
}

/** Writes the pages of a piece, up to the target if that is in it; its last commit, if it has one. */
function applied(fd: number, piece: Piece, target: Position | null): Commit | null {
  const { header, payload, pages, commits } = piece;
  const { first, pageSize, frames } = header;
  const isIn = target && sameSalts(target, header) && target.frame < first + frames;
  const count = isIn ? Math.max(0, target.frame - first + 1) : frames;
  const start = first === 1 ? WAL_HEADER_SIZE : 0;
  for (let i = 0; i < count; i++) {
    const at = start + i * frameSize(pageSize) + FRAME_HEADER_SIZE;
    writeFully(fd, payload, at, pageSize, ((pages[i] as number) - 1) * pageSize);
  }
  return commits.findLast(({ frame }) => frame < first + count) ?? null;
}

function passes({ header, commits }: Piece, position: Position): boolean {
  if (!sameSalts(header, position)) return false;
  return commits.some((commit) => commit.frame === position.frame && sameSums(commit, position));
}
