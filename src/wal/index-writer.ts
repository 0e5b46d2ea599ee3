/**
 * Keeps a wal-index (shared-index.ts) right while frames are appended to its log by hand, as SQLite's
 * own writer does: as long as it shows what is expected no reader has to rebuild it, and what is
 * backfilled stays known.
 *
 * The order of stores: the entries of the new frames, then the header that counts them. Until that
 * is there every reader, in whatever process, passes the entries over; afterwards it finds them all.
 * Slots in use are never moved; to write some of them once more with what they hold changes nothing.
 * The read marks and the count of backfilled frames are others' and are not touched.
 *
 * There is no lock of SQLite's here. So before anything is written the header must show just what this
 * writer's caller knows; whoever else changes it meanwhile (a restart, a rebuild) leaves a header that
 * the next append does not know. If it is cut off, the header shows the log as it was before.
 */
import fs from "node:fs";
import { invariant } from "../invariant.ts";
import type { Commit } from "./chain.ts";
import { type Sums, sameSalts, sameSums, type WalHeader } from "./format.ts";
import { writeFully } from "./scan.ts";
import {
  BLOCK_FRAMES,
  BLOCK_SIZE,
  FIRST_BLOCK_FRAMES,
  INDEX_HEADER_SIZE,
  SharedIndex,
  SLOTS_AT,
} from "./shared-index.ts";

const SLOTS = 8192;
const HASH = 383;
const WORD = 4;
const SLOT = 2;
/** So many slots are written one by one; more of them as one span, with what lies between. */
const FEW = 8;

export class IndexWriter {
  readonly #fd: number;
  readonly #index: SharedIndex;
  /** The block to which was appended last, as it is in the index. */
  readonly #block = new Uint8Array(BLOCK_SIZE);
  readonly #pages = new Uint32Array(this.#block.buffer, 0, SLOTS_AT / WORD);
  readonly #slots = new Uint16Array(this.#block.buffer, SLOTS_AT, SLOTS);
  readonly #next = new Uint32Array(1);
  readonly #nextBytes = new Uint8Array(this.#next.buffer);
  /** Which one `#block` is; -1: none. */
  #loaded = -1;
  /** The header's counter as it was left here, and as it was found by `prepare`. */
  #change = -1;
  #prepared = -1;

  /** @param fd an open descriptor of the `-shm`, for writing; stays the caller's to close, or never */
  constructor(fd: number) {
    this.#fd = fd;
    this.#index = new SharedIndex(fd);
  }

  /** The same as `prepare` and `publish`, one after the other. */
  append(
    log: WalHeader,
    before: Sums & { readonly frame: number },
    pages: ArrayLike<number>,
    end: Commit,
  ): boolean {
    return this.prepare(log, before, pages, end) && this.publish(log, end);
  }

  /**
   * Writes what no reader looks at yet. The index shows `log` up to the frame `before`; the frames
   * from there to `end` are of the first of these pages. A log's first frames may follow on any index
   * without frames: there all is in the file.
   * @returns false if the index is not valid or shows something else; then nothing was written
   */
  prepare(
    log: WalHeader,
    before: Sums & { readonly frame: number },
    pages: ArrayLike<number>,
    end: Commit,
  ): boolean {
    const count = end.frame - before.frame;
    invariant(count > 0 && pages.length >= count, "each new frame has a page", { before, end });
    const index = this.#index;
    if (!index.read() || index.frames !== before.frame) return false;
    if (before.frame > 0 && !(sameSalts(index, log) && sameSums(index, before))) return false;
    if (before.frame > 0 && index.pageSize !== log.pageSize) return false;

    const ours = index.change === this.#change;
    this.#change = -1; // until all of it stands
    this.#prepared = index.change;
    if (!ours) this.#loaded = -1;
    for (let taken = 0; taken < count; ) {
      const place = placeOf(before.frame + taken + 1);
      const most = Math.min(count - taken, place.frames - place.entry);
      if (!this.#put(place, pages, taken, most)) return false;
      taken += most;
    }
    return true;
  }

  /**
   * From now on the index shows `log` up to `end`, for which it was prepared.
   * @returns false if somebody has changed it since; then it stays as it is
   */
  publish(log: WalHeader, end: Commit): boolean {
    const index = this.#index;
    if (!index.read() || index.change !== this.#prepared) return false;
    index.store(log, end);
    this.#change = index.change;
    return true;
  }

  /** Adds entries to one block; false if what it holds so far is not right. */
  #put({ block, entry }: Place, pages: ArrayLike<number>, from: number, count: number): boolean {
    const word = firstWord(block) + entry;
    const before = this.#prepare(block, entry);
    if (before === "wrong") return false;
    const few = before === "in step" && count <= FEW;
    let low = SLOTS;
    let high = -1;
    for (let i = 0; i < count; i++) {
      const slot = this.#add(word + i, entry + i + 1, pages[from + i] as number);
      if (few) this.#write(block, SLOTS_AT + slot * SLOT, SLOTS_AT + (slot + 1) * SLOT);
      if (slot < low) low = slot;
      if (slot > high) high = slot;
    }
    if (before === "in step") {
      this.#write(block, word * WORD, (word + count) * WORD);
      if (!few) this.#write(block, SLOTS_AT + low * SLOT, SLOTS_AT + (high + 1) * SLOT);
    } else {
      this.#write(block, word * WORD, BLOCK_SIZE);
      if (entry === 0) this.#grow(block);
    }
    return true;
  }

  /** The number of a slot that now leads to the `n`-th page number, which is written to `word`. */
  #add(word: number, n: number, page: number): number {
    invariant(page > 0, "pages are numbered from 1", { page });
    this.#pages[word] = page;
    let slot = (page * HASH) & (SLOTS - 1);
    while (this.#slots[slot] !== 0) slot = (slot + 1) & (SLOTS - 1); // half of them are free
    this.#slots[slot] = n;
    return slot;
  }

  /**
   * Makes `#block` the block with its first `entry` entries and no others. "stale": the index itself
   * has other things from there on, which are to be overwritten to the block's end.
   */
  #prepare(block: number, entry: number): "in step" | "stale" | "wrong" {
    if (entry === 0) {
      this.#block.fill(0);
      this.#loaded = block;
      return "stale";
    }
    const at = block * BLOCK_SIZE;
    if (this.#loaded === block) {
      // Has a writer been here that did not come to its end? Its entries begin just there.
      const next = at + (firstWord(block) + entry) * WORD;
      if (fs.readSync(this.#fd, this.#nextBytes, 0, WORD, next) === WORD && this.#next[0] === 0) {
        return "in step";
      }
    }
    this.#loaded = -1;
    if (fs.readSync(this.#fd, this.#block, 0, BLOCK_SIZE, at) < BLOCK_SIZE) return "wrong";
    let used = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      const n = this.#slots[slot] as number;
      if (n > entry) this.#slots[slot] = 0;
      else if (n > 0) used++;
    }
    if (used !== entry) return "wrong"; // no index of SQLite's
    this.#pages.fill(0, firstWord(block) + entry);
    this.#loaded = block;
    return "stale";
  }

  /** The file covers a new block, and, where memory has pages of 64 KiB, what is mapped with it. */
  #grow(block: number): void {
    if (block === 0 || block % 2 === 1) return;
    const end = (block + 2) * BLOCK_SIZE;
    if (fs.fstatSync(this.#fd).size >= end) return;
    writeFully(this.#fd, EMPTY_BLOCK, 0, BLOCK_SIZE, end - BLOCK_SIZE);
  }

  #write(block: number, from: number, to: number): void {
    writeFully(this.#fd, this.#block, from, to - from, block * BLOCK_SIZE + from);
  }
}

const EMPTY_BLOCK = new Uint8Array(BLOCK_SIZE);

interface Place {
  readonly block: number;
  /** Where in the block, from 0. */
  readonly entry: number;
  /** How many the block has room for. */
  readonly frames: number;
}

function placeOf(frame: number): Place {
  if (frame <= FIRST_BLOCK_FRAMES)
    return { block: 0, entry: frame - 1, frames: FIRST_BLOCK_FRAMES };
  const after = frame - 1 - FIRST_BLOCK_FRAMES;
  const block = 1 + Math.floor(after / BLOCK_FRAMES);
  return { block, entry: after % BLOCK_FRAMES, frames: BLOCK_FRAMES };
}

/** Where in a block its page numbers begin, in words. */
function firstWord(block: number): number {
  return block === 0 ? INDEX_HEADER_SIZE / WORD : 0;
}
