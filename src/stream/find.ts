/**
 * Finding a place in a stream: where a copy that is to be made begins, where one goes on, where a position or a
 * moment is. Headers say enough for most of it, and they are looked at from the stream's end.
 */
import { type Position, samePosition } from "../lineage/position.ts";
import { sameSalts, sameSums } from "../wal/format.ts";
import type { Keys } from "./keys.ts";
import type { Ends, StreamLog } from "./log.ts";
import { readSnapshotNote } from "./notes.ts";
import { Reading, type Snapshot } from "./reading.ts";
import { unwrap } from "./seal.ts";
import { decodeSegment, kinds, positionOf, type SegmentHeader, type Wrapped } from "./segment.ts";
import { wholes } from "./transactions.ts";

/** From what a copy is made. */
export interface Start {
  readonly snapshot: Snapshot;
  /** The message with which reading begins: that with frame 1 of the snapshot's log, or its note. */
  readonly from: number;
}

/** A place at which a copy is to end. */
export interface Target {
  /** The last message that may be used. */
  readonly to: number;
  /** The commit at which to end; null: the last one. */
  readonly position: Position | null;
}

/**
 * The newest snapshot from which a target can be reached: with all of its log in the stream, and before the
 * target. Null: none.
 */
export async function findStart(
  log: StreamLog,
  ends: Ends,
  { to, position }: Target,
  keys: Keys | null,
): Promise<Start | null> {
  const there = new Set(await log.objects());
  if (there.size === 0) return null;
  for await (const { sequence, time, header, wrapped, where } of backwards(log, ends)) {
    if (header.kind !== kinds.SNAPSHOT) continue;
    const note = readSnapshotNote(unwrap(header, wrapped, keys, where), where);
    const from = note.logFrom ?? sequence;
    if (from < ends.first || from > to || !there.has(note.object)) continue;
    const { pageSize } = header;
    const snapshot = { sequence, time, position: positionOf(header), pageSize, note };
    const start = { snapshot, from };
    if (await leads(log, start, { to, position }, keys)) return start;
  }
  return null;
}

/**
 * The message from which a copy at `position` goes on: with frame 1 of the log that holds the position, or that
 * begins there; or a snapshot of just this. Null: the stream does not hold what follows.
 */
export async function findLog(
  log: StreamLog,
  ends: Ends,
  position: Position,
  keys: Keys | null,
): Promise<number | null> {
  for await (const { sequence, header, wrapped, where } of beginnings(log, ends)) {
    const { kind, base } = header;
    if (kind === kinds.FRAMES) {
      if (sameSalts(header, position) || (base && samePosition(base, position))) return sequence;
    }
    if (kind !== kinds.SNAPSHOT || !samePosition(positionOf(header), position)) continue;
    const note = readSnapshotNote(unwrap(header, wrapped, keys, where), where);
    if (note.logFrom === null && note.install === 0) return sequence;
  }
  return null;
}

/**
 * From the end on back: the messages with frame 1 of a log that counts, or may count yet; and the snapshots. A log that was
 * to be installed may have been cut off, and then the one before it, of the same generation, is what counts.
 */
export async function* beginnings(log: StreamLog, ends: Ends): AsyncGenerator<Look> {
  const ended = new Set<string>();
  let newest: string | null = null;
  let held: Look | null = null; // of the newest writer, and its end is still to come
  for await (const look of backwards(log, ends)) {
    const { kind, writer, first, place, salt1, salt2 } = look.header;
    if (held) {
      const isInstall = kind === kinds.SNAPSHOT && writer === held.header.writer;
      if (!isInstall || !sameSalts(look.header, held.header)) yield held;
      held = null;
    }
    if (place > 0) newest ??= writer; // a promotion may be void
    if (kind === kinds.SNAPSHOT) yield look;
    if (kind !== kinds.FRAMES) continue;
    const written = `${writer} ${salt1} ${salt2}`;
    if (look.header.ends) ended.add(written);
    if (first !== 1) continue;
    if (ended.has(written)) yield look;
    else if (writer === newest) held = look;
  }
  if (held) yield held;
}

/** The message that holds the commit at `position`; null: none. */
export async function findCommit(
  log: StreamLog,
  ends: Ends,
  position: Position,
): Promise<number | null> {
  for await (const { sequence, header } of backwards(log, ends)) {
    const { kind, first, frames } = header;
    if (kind === kinds.SNAPSHOT && samePosition(positionOf(header), position)) return sequence;
    if (kind !== kinds.FRAMES || !sameSalts(header, position)) continue;
    if (first <= position.frame && position.frame < first + frames) return sequence;
  }
  return null;
}

/**
 * The image with which the stream begins anew behind this message, before any more frames: what led to it is not in the
 * stream. Null: it goes on without a hole.
 * @param position where the stream stands after the message
 */
export async function findHole(
  log: StreamLog,
  { last }: Ends,
  message: number,
  position: Position,
  keys: Keys | null,
): Promise<Pick<Snapshot, "sequence" | "time" | "position"> | null> {
  for await (const { sequence, time, bytes } of log.read(message + 1, { to: last })) {
    const where = `${log.name} message ${sequence}`;
    const { header, wrapped } = decodeSegment(bytes, where);
    if (header.kind === kinds.FRAMES) return null;
    if (header.kind !== kinds.SNAPSHOT) continue;
    if (readSnapshotNote(unwrap(header, wrapped, keys, where), where).logFrom !== null) continue;
    const anew = positionOf(header);
    return samePosition(anew, position) ? null : { sequence, time, position: anew };
  }
  return null;
}

/**
 * The last message that was taken at or before this moment; null: none is left. It goes by the clock of the
 * place, which may be set, but not back by more than the time between two messages.
 */
export async function findMoment(log: StreamLog, ends: Ends, moment: Date): Promise<number | null> {
  let [low, high] = [ends.first - 1, ends.last];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const entry = await log.at(middle);
    if (entry && entry.time.getTime() <= moment.getTime()) low = middle;
    else high = middle - 1;
  }
  return low < ends.first ? null : low;
}

// --- internal ---

/** How many messages are read at once on the way back. */
const WINDOW = 64;

export interface Look {
  readonly sequence: number;
  readonly time: Date;
  readonly header: SegmentHeader;
  readonly wrapped: Wrapped;
  readonly where: string;
}

export async function* backwards(log: StreamLog, { first, last }: Ends): AsyncGenerator<Look> {
  for (let to = last; to >= first; to -= WINDOW) {
    const looks: Look[] = [];
    for await (const { sequence, time, bytes } of log.read(Math.max(first, to - WINDOW + 1), {
      to,
    })) {
      const where = `${log.name} message ${sequence}`;
      looks.push({ sequence, time, where, ...decodeSegment(bytes, where) });
    }
    yield* looks.reverse();
  }
}

/** Does the stream lead from the snapshot's log to its position, and that not beyond the target? */
async function leads(
  log: StreamLog,
  { snapshot, from }: Start,
  { to, position: target }: Target,
  keys: Keys | null,
): Promise<boolean> {
  const { position } = snapshot;
  const isBeyond = target && sameSalts(target, position) && position.frame > target.frame;
  if (isBeyond) return false;
  const reading = new Reading(log.name, from, keys);
  for await (const whole of wholes(log, log.read(from, { to }), reading, keys)) {
    if (whole.snapshot?.sequence === snapshot.sequence) return true;
    for await (const { header, commits } of whole.pieces()) {
      const isThere = commits.some((c) => c.frame === position.frame && sameSums(c, position));
      if (sameSalts(header, position) && isThere) return snapshot.note.logFrom !== null;
    }
  }
  return false;
}
