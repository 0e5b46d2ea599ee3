/**
 * Reading a stream: the messages in order, all that segment.ts promises of them checked, and for each what
 * it means: whether it counts, and what counts with it. No I/O.
 *
 * Invariants:
 *   - `position` is where the last transaction ended that counts; what is pending is not in it;
 *   - the frames that count are one chain: nothing is left out, twice, or in another order;
 *   - nothing counts but what the writer of the last open that counts has written.
 *
 * It may begin in the middle of a stream, at the first frame of a generation or at a snapshot without one: for
 * a writer puts each message right behind the last that he knows, and so none there that would not count. What comes
 * before the first such place is passed over.
 */
import { invariant } from "../invariant.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import {
  decodeWalHeader,
  isPageSize,
  type Sums,
  sameSalts,
  sameSums,
  type WalHeader,
} from "../wal/format.ts";
import type { Keys } from "./keys.ts";
import type { Entry } from "./log.ts";
import { readOpenNote, readSnapshotNote } from "./notes.ts";
import { type Piece, type Segment, verify } from "./piece.ts";
import { unwrap } from "./seal.ts";
import {
  decodeSegment,
  isInPlace,
  kinds,
  noSegment,
  type OpenNote,
  positionOf,
  type SegmentHeader,
  type SnapshotNote,
} from "./segment.ts";

export interface Snapshot {
  /** The message with its note. */
  readonly sequence: number;
  readonly time: Date;
  readonly position: Position;
  readonly pageSize: number;
  readonly note: SnapshotNote;
}

export type { Piece, Segment } from "./piece.ts";

/** What a message means. */
export type Taken =
  /** It waits for its transaction's end, or for all of an install. */
  | { readonly is: "piece"; readonly piece: Piece }
  /** A transaction ends, and with it all pieces count from message `from` on. */
  | { readonly is: "end"; readonly piece: Piece; readonly from: number }
  /** The stream began anew: it stands at this snapshot, with the log of messages `from` on. */
  | {
      readonly is: "installed";
      readonly snapshot: Snapshot;
      /** Null if the snapshot stands without a log. */
      readonly piece: Piece | null;
      readonly from: number;
    }
  /** A snapshot was put beside the stream. */
  | { readonly is: "snapshot"; readonly snapshot: Snapshot }
  | { readonly is: "open"; readonly header: SegmentHeader; readonly note: OpenNote }
  /** It does not count, and why. */
  | { readonly is: "void"; readonly why: string };

/** The log that the next frames continue. */
export interface LogOf {
  /** The message with its frame 1. */
  readonly from: number;
  readonly header: WalHeader;
  /** The content under its frame 1, if that is on record. */
  readonly base: Position | null;
}

/** Where a stream stands; enough to go on reading. */
export interface StreamState {
  /** Of the message that comes next. */
  readonly next: number;
  readonly databaseId: string | null;
  readonly timeline: number;
  /** Whose segments count; null: not known yet. */
  readonly writer: string | null;
  /** What counts; null: not known yet. */
  readonly position: Position | null;
  /** Of `position`; null: its frames are not in the stream, so that the next ones begin a log. */
  readonly log: LogOf | null;
  /** The last one that can be used. */
  readonly snapshot: Snapshot | null;
}

/** Frames that do not count yet: their end, and where they begin. */
interface Tail extends Sums {
  readonly from: number;
  readonly frame: number;
  readonly log: LogOf;
}

export class Reading {
  readonly #name: string;
  readonly #keys: Keys | null;
  readonly #from: number;
  #state: StreamState;
  #tail: Tail | null = null;
  #install: { readonly snapshot: Snapshot; readonly left: number } | null = null;
  /** A snapshot of a position that is still to come. */
  #ahead: Snapshot | null = null;

  /**
   * @param name what the stream is called in errors
   * @param at the number of the message that comes first, or where an earlier reading stood
   */
  constructor(name: string, at: number | StreamState, keys: Keys | null = null) {
    this.#name = name;
    this.#keys = keys;
    this.#state = typeof at === "number" ? { ...UNKNOWN, next: at } : at;
    this.#from = this.#state.next;
  }

  get state(): StreamState {
    return this.#state;
  }

  /** Are there frames, or is there a snapshot, that do not count yet? */
  get isPending(): boolean {
    return this.#tail !== null || this.#install !== null;
  }

  /** @throws LockstepError REPLICA_CHANGED if it is not what may stand there; BAD_OPTION if its key is missing */
  take(entry: Entry): Taken {
    const { sequence } = entry;
    invariant(sequence === this.#state.next, "messages are read in order", { sequence });
    const where = `${this.#name} message ${sequence}`;
    const { header, wrapped } = decodeSegment(entry.bytes, where);
    const { databaseId, writer, timeline } = this.#state;
    if (databaseId !== null && header.databaseId !== databaseId) {
      throw noSegment(where, `is of another database, ${header.databaseId}`);
    }
    // durable: a message counts only in its own place
    if (!isInPlace(header, sequence)) throw noSegment(where, MOVED);
    const payload = unwrap(header, wrapped, this.#keys, where);
    const segment = { sequence, time: entry.time, header, payload };
    const taken = this.#mean(segment, where, { writer, timeline });
    this.#set({ next: sequence + 1, databaseId: header.databaseId });
    return taken;
  }

  #mean(
    segment: Segment,
    where: string,
    { writer, timeline }: Pick<StreamState, "writer" | "timeline">,
  ): Taken {
    const { header } = segment;
    if (header.kind === kinds.OPEN) return this.#open(segment, where);
    if (writer === null && !begins(segment, where)) {
      return { is: "void", why: "it continues what is not known here" };
    }
    if (writer !== null && header.writer !== writer) {
      return { is: "void", why: `its writer ${header.writer} was followed by ${writer}` };
    }
    if (writer !== null && header.timeline !== timeline) {
      throw noSegment(where, `is of timeline ${header.timeline}, and its writer of ${timeline}`);
    }
    const taken =
      header.kind === kinds.SNAPSHOT
        ? this.#snapshot(segment, where)
        : this.#frames(segment, where);
    this.#set({ writer: header.writer, timeline: header.timeline });
    return taken;
  }

  #open({ header, payload }: Segment, where: string): Taken {
    const note = readOpenNote(payload, where);
    if ((note.how === "promoted") !== (header.place === 0)) throw noSegment(where, MOVED);
    const { timeline, writer, position } = this.#state;
    if (writer !== null && note.how === "promoted" && header.timeline <= timeline) {
      return { is: "void", why: `a promotion to timeline ${header.timeline}, which is taken` };
    }
    if (writer !== null && header.timeline < timeline) {
      throw noSegment(where, `opens timeline ${header.timeline} after ${timeline}`);
    }
    this.#tail = null;
    this.#install = null;
    this.#set({
      writer: header.writer,
      timeline: header.timeline,
      position: position && { ...position, timeline: header.timeline },
    });
    return { is: "open", header, note };
  }

  #snapshot({ header, payload, sequence, time }: Segment, where: string): Taken {
    const note = readSnapshotNote(payload, where);
    const position = positionOf(header);
    const isSound = header.frames === 0 && sameSums(header.before, header.after);
    if (!isSound || !isPageSize(header.pageSize)) {
      throw noSegment(where, "is a snapshot whose position makes no sense");
    }
    const snapshot = { sequence, time, position, pageSize: header.pageSize, note };
    if (note.logFrom === null) return this.#beginAnew(snapshot);
    if (note.logFrom >= sequence) throw noSegment(where, "names a log that comes after it");
    this.#noteSnapshot(snapshot, where);
    return { is: "snapshot", snapshot };
  }

  #beginAnew(snapshot: Snapshot): Taken {
    const { position, note } = snapshot;
    this.#tail = null;
    this.#ahead = null;
    if (note.install > 0) {
      this.#install = { snapshot, left: note.install };
      return { is: "snapshot", snapshot };
    }
    this.#install = null;
    this.#set({ position, log: null, snapshot });
    return { is: "installed", snapshot, piece: null, from: snapshot.sequence };
  }

  /** One whose log is in the stream: it can be used from its position on. */
  #noteSnapshot(snapshot: Snapshot, where: string): void {
    const { position, note } = snapshot;
    const { log, position: now } = this.#state;
    const known = this.#tail?.log ?? log;
    if (known && sameSalts(known.header, position) && known.from !== note.logFrom) {
      throw noSegment(
        where,
        `is a snapshot whose log begins at message ${note.logFrom}, not ${known.from}`,
      );
    }
    if ((note.logFrom as number) < this.#from) return; // what leads to it was not read
    const isNow = now !== null && sameSalts(now, position);
    if (isNow && position.frame === now.frame && !sameSums(position, now)) {
      throw noSegment(where, SNAPSHOT_APART);
    }
    if (isNow && position.frame > now.frame) this.#ahead = snapshot;
    else this.#set({ snapshot });
  }

  #frames(segment: Segment, where: string): Taken {
    const { header, sequence } = segment;
    const log =
      header.first === 1 ? this.#beginLog(segment, where) : this.#continueLog(header, where);
    if (!log) return { is: "void", why: "it continues what is not known here" };
    const piece = verify(segment, log.header, where);
    const from = this.#tail?.from ?? sequence;
    const end = positionOf(header);
    this.#tail = { from, log, frame: end.frame, sum1: end.sum1, sum2: end.sum2 };
    if (this.#install) return this.#installNext(piece, this.#install, where);
    if (!header.ends) return { is: "piece", piece };
    this.#tail = null;
    this.#reach(piece, where);
    this.#set({ position: end, log });
    return { is: "end", piece, from };
  }

  #beginLog({ header, payload, sequence }: Segment, where: string): LogOf {
    const { position } = this.#state;
    const found = decodeWalHeader(payload);
    if (!found || !sameSalts(found, header) || found.pageSize !== header.pageSize) {
      throw noSegment(where, "begins a log with another header");
    }
    if (!sameSums(found, header.before)) throw noSegment(where, "has other sums than its log");
    if (this.#tail) throw noSegment(where, "begins a log within a transaction");
    const { base } = header;
    // durable: a log is put on the content that it was written on
    if (!this.#install && position && !(base && samePosition(base, position))) {
      throw noSegment(where, "begins a log on another content than the one before it leads to");
    }
    return { from: sequence, header: found, base };
  }

  /** Null if it is not known what it continues. */
  #continueLog(header: SegmentHeader, where: string): LogOf | null {
    const { log: known, position } = this.#state;
    const tail = this.#tail;
    if (!tail && this.#install) throw noSegment(where, "is the middle of a log that has not begun");
    if (!tail && !position) return null;
    const log = tail ? tail.log : known;
    if (!log || !sameSalts(log.header, header)) {
      throw noSegment(where, "goes on in a log that is not there");
    }
    const end = tail ?? (position as Position);
    // durable: frames continue those before them
    if (header.first !== end.frame + 1 || !sameSums(header.before, end)) {
      throw noSegment(
        where,
        `does not continue what stands before it: frame ${header.first} after ${end.frame}`,
      );
    }
    const { base } = header;
    const isOther = log.base !== null && base !== null && !samePosition(log.base, base);
    if (isOther || header.pageSize !== log.header.pageSize) {
      throw noSegment(
        where,
        "says something else of its log than the message with which that began",
      );
    }
    return log;
  }

  #installNext(
    piece: Piece,
    { snapshot, left }: { readonly snapshot: Snapshot; readonly left: number },
    where: string,
  ): Taken {
    const { from, log } = this.#tail as Tail;
    const rest = left - piece.header.frames;
    if (rest > 0) {
      this.#install = { snapshot, left: rest };
      return { is: "piece", piece };
    }
    const isThere = samePosition(positionOf(piece.header), snapshot.position);
    if (rest < 0 || !piece.header.ends || !isThere) {
      throw noSegment(where, "does not lead to the snapshot that it belongs to");
    }
    this.#install = null;
    this.#tail = null;
    this.#set({ position: positionOf(piece.header), log, snapshot });
    return { is: "installed", snapshot, piece, from };
  }

  /** Has what counts now come to a snapshot that was ahead of it? */
  #reach({ header, commits }: Piece, where: string): void {
    const ahead = this.#ahead;
    if (!ahead) return;
    const { position } = ahead;
    const isSame = sameSalts(position, header);
    if (isSame && position.frame > positionOf(header).frame) return;
    this.#ahead = null;
    // In an earlier message of the same transaction it would be no end of one.
    const at = isSame && commits.find(({ frame }) => frame === position.frame);
    if (!at || !sameSums(at, position)) throw noSegment(where, SNAPSHOT_APART);
    this.#set({ snapshot: ahead });
  }

  #set(change: Partial<StreamState>): void {
    this.#state = { ...this.#state, ...change };
  }
}

// --- internal ---

const MOVED = "was written for another place";
const SNAPSHOT_APART = "and a snapshot contradict one another: its position is not on the way";

const UNKNOWN: Omit<StreamState, "next"> = {
  databaseId: null,
  timeline: 0,
  writer: null,
  position: null,
  log: null,
  snapshot: null,
};

/** Can a reading begin with it? */
function begins({ header, payload }: Segment, where: string): boolean {
  if (header.kind === kinds.FRAMES) return header.first === 1;
  return readSnapshotNote(payload, where).logFrom === null;
}
