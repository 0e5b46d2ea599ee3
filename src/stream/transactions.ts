/**
 * What counts of a stream, whole: the frames of a transaction are held until its end has come, and those of a
 * large one are read once more then.
 */
import type { Keys } from "./keys.ts";
import type { Entry, StreamLog } from "./log.ts";
import { type Piece, Reading, type Snapshot, type StreamState, type Taken } from "./reading.ts";

/** How much of a transaction is held, in bytes. */
const HELD_BYTES = 64 << 20;

/** Something that counts. */
export interface Whole {
  /** The number of the message with which it counts, and when that was taken. */
  readonly sequence: number;
  readonly time: Date;
  readonly reading: Reading;
  /** What the message is. */
  readonly taken: Exclude<Taken, { readonly is: "piece" }>;
  /** Does the stream begin anew with it? */
  readonly snapshot: Snapshot | null;
  /** The frames that count now, in order; none of a message without. */
  pieces(): AsyncIterable<Piece>;
}

/** Reads entries, and yields for each that is no piece what counts with it. */
export async function* wholes(
  log: StreamLog,
  entries: AsyncIterable<Entry>,
  reading: Reading,
  keys: Keys | null,
): AsyncGenerator<Whole> {
  let held: Piece[] | null = [];
  let bytes = 0;
  for await (const entry of entries) {
    const before = reading.state;
    const taken = reading.take(entry);
    if (taken.is === "piece") {
      bytes += taken.piece.payload.length;
      if (held && bytes <= HELD_BYTES) held.push(taken.piece);
      else held = null;
      continue;
    }
    const { sequence, time } = entry;
    const isEnd = taken.is === "end" || taken.is === "installed";
    const last = isEnd ? taken.piece : null;
    const kept = held;
    const pieces = async function* (): AsyncGenerator<Piece> {
      if (!last || !isEnd) return;
      if (kept) yield* kept;
      else yield* again(log, taken.from, sequence - 1, taken.is === "end" ? before : null, keys);
      yield last;
    };
    const snapshot = taken.is === "installed" ? taken.snapshot : null;
    yield { sequence, time, reading, taken, snapshot, pieces };
    // A message that does not count may stand within a transaction.
    const isAnew = taken.is === "snapshot" && taken.snapshot.note.install > 0;
    if (!reading.isPending || isAnew) [held, bytes] = [[], 0];
  }
}

// --- internal ---

/**
 * The pieces of these messages, which were read before and found to count.
 * @param before where the stream stood then; null: they begin a log
 */
async function* again(
  log: StreamLog,
  from: number,
  to: number,
  before: StreamState | null,
  keys: Keys | null,
): AsyncGenerator<Piece> {
  const reading = new Reading(log.name, before ? { ...before, next: from } : from, keys);
  for await (const entry of log.read(from, { to })) {
    const taken = reading.take(entry);
    if (taken.is === "piece" || taken.is === "end") yield taken.piece;
  }
}
