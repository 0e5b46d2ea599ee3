/**
 * Keeps the sums beside a copy (sums.ts) in step with its file: whoever puts on record what a file
 * holds asks here, just before, what its sums are then.
 *
 * Most of a log is summed ahead, by the thread that folds it ahead (`Ahead`, mirror/backfiller.ts).
 *
 * Sums never stop a commit: if they cannot be kept the record says that there are none, and the next
 * `lockstep scrub` makes them anew.
 */
import { sameSalts, sameSums } from "../wal/format.ts";
import { type LogSums, readFrameHeader, type Summed, sumLog } from "./log-sums.ts";
import type { Sidecar, SidecarState } from "./sidecar.ts";
import { SumsFile, type SumsRecord, Total } from "./sums.ts";

/**
 * What was written into a copy's sums before the fold is put on record; null: it failed; "untold": nobody
 * says how far it came, but what was written is right.
 */
export type Ahead = Told | "untold" | null;

interface Told {
  /** From where on the log was summed; null: from its beginning. */
  readonly after: Summed | null;
  readonly summed: Summed;
  /** By how much the total has changed. */
  readonly change: string;
}

/** The one keeper of a copy that this process has locked. */
export function keeperOf(sidecar: Sidecar): SumsKeeper {
  const keeper = keepers.get(sidecar) ?? new SumsKeeper(sidecar);
  keepers.set(sidecar, keeper);
  return keeper;
}

/** Sums logs ahead, those of copies that have the same frames only once. */
export class AheadSummer {
  /** How far each copy's log is summed. */
  readonly #summed = new Map<string, Summed>();
  /** What was summed last, as far as this frame. */
  #last: { readonly log: LogSums; readonly end: number } | null = null;

  /**
   * Sums the rest of a copy's log up to frame `end`, into its sums.
   * @param wanted false: nothing more is written
   */
  sum(copy: string, end: number, wanted: () => boolean): Told | null {
    const before = this.#summed.get(copy) ?? null;
    this.#summed.delete(copy);
    try {
      const log = this.#logOf(copy, end, before);
      const change = new Total();
      if (!log || !write(copy, log, change, wanted)) return null;
      this.#summed.set(copy, log.summed);
      return { after: log.after, summed: log.summed, change: String(change) };
    } catch {
      return null;
    }
  }

  /** Copies in one position have one log: what was read of the first is not read of the others. */
  #logOf(copy: string, end: number, before: Summed | null): LogSums | null {
    const last = this.#last;
    if (last?.end === end && isNextTo(last.log, before) && endsWith(copy, last.log))
      return last.log;
    const log = sumLog(`${copy}-wal`, end, before);
    this.#last = log && { log, end };
    return log;
  }
}

/** Both, one after the other. */
export function joinAhead(first: Ahead, second: Ahead): Ahead {
  if (!first || !second) return null;
  if (first === "untold" || second === "untold") return "untold";
  const total = new Total(first.change);
  total.join(second.change);
  const after = covers(first.summed, second.after) ? first.after : second.after;
  return { after, summed: second.summed, change: String(total) };
}

export class SumsKeeper {
  readonly #sidecar: Sidecar;
  /** What the record said when we last looked; what it says anew is where we begin anew. */
  #folded: SidecarState["folded"] | undefined;
  #kept = false;
  #pages = 0;
  #total: Total | null = null;
  #summed: Summed | null = null;
  /** What was last said that the record should say. */
  #given: SumsRecord | null = null;

  constructor(sidecar: Sidecar) {
    this.#sidecar = sidecar;
  }

  /** The file is not, or not surely, what the sums speak of: there are none until they are made anew. */
  drop(): void {
    this.#look();
    this.#kept = false;
  }

  /** Takes note of what was written ahead. */
  noteAhead(ahead: Ahead): void {
    this.#look();
    if (!ahead) this.#kept = false;
    else if (ahead === "untold") this.#total = null;
    else {
      this.#total?.join(ahead.change);
      // What was summed before, that it goes on from, must be in these sums.
      if (covers(this.#summed, ahead.after)) this.#summed = ahead.summed;
    }
  }

  /**
   * The file is about to be put on record as holding the first `frames` frames of its log, which is
   * on record as being folded.
   * @returns what its sums are then, written and synced; null if there are none
   */
  keep(frames: number): SumsRecord | null {
    this.#look();
    if (!this.#kept) return null;
    try {
      this.#kept = frames === 0 || this.#sum(frames);
    } catch {
      this.#kept = false;
    }
    if (!this.#kept) return null;
    this.#given = { pages: this.#pages, total: this.#total && String(this.#total) };
    return this.#given;
  }

  #sum(frames: number): boolean {
    const log = sumLog(`${this.#sidecar.copy}-wal`, frames, this.#summed);
    if (log?.summed.frame !== frames) return false;
    const total = this.#total ?? new Total();
    if (!write(this.#sidecar.copy, log, total, () => true)) return false;
    this.#summed = log.summed;
    this.#pages = log.summed.pages;
    return true;
  }

  #look(): void {
    const { folded } = this.#sidecar.state;
    if (folded === this.#folded) return;
    const sums = folded?.sums ?? null;
    // Found in the middle of a fold: some entries may be newer than the total.
    const isExact = !(this.#folded === undefined && this.#sidecar.foundFolding);
    this.#folded = folded;
    if (sums !== null && sums === this.#given) return; // as it was kept
    this.#kept = sums !== null;
    this.#pages = sums?.pages ?? 0;
    this.#total = sums?.total && isExact ? new Total(sums.total) : null;
    this.#summed = null;
  }
}

// --- internal ---

const keepers = new WeakMap<Sidecar, SumsKeeper>();

/** Does what was read of a log begin where `before` ends; at the first frame, if that is of another generation? */
function isNextTo({ after, summed }: LogSums, before: Summed | null): boolean {
  const from = before && sameSalts(before, summed) ? before : null;
  return after === null || from === null ? after === from : samePlace(after, from);
}

/** Has the log of `copy`, too, the frame with which what was summed ends? Its checksum is that of all before. */
function endsWith(copy: string, { summed, pageSize }: LogSums): boolean {
  const frame = readFrameHeader(`${copy}-wal`, summed.frame, pageSize);
  return frame !== null && sameSalts(frame, summed) && sameSums(frame, summed);
}

function samePlace(a: Summed, b: Summed): boolean {
  return a.frame === b.frame && sameSalts(a, b) && sameSums(a, b);
}

/** Is what was summed up to there in `summed`? */
function covers(summed: Summed | null, after: Summed | null): boolean {
  if (after === null) return true;
  return summed !== null && sameSalts(summed, after) && summed.frame >= after.frame;
}

/** @returns false if there are no sums to keep */
function write(
  copy: string,
  { pageSize, entries, summed }: LogSums,
  total: Total,
  wanted: () => boolean,
): boolean {
  const file = SumsFile.open(copy, "r+");
  if (!file) return false;
  try {
    if (file.pageSize !== pageSize) return false;
    file.patch(entries, total, wanted);
    file.shrink(summed.pages, total);
    file.sync(); // durable: the sums before the record that vouches for them
    return true;
  } finally {
    file.close();
  }
}
