/**
 * `<file>-lockstep-sums`: a checksum for each page of a copy's file, so that rot is noticed, and which
 * copy it is in.
 *
 *   file    := header entry*        integers are big-endian u32
 *   header     0 magic "LOCKSUMS"   8 version   12 page size
 *   entry      of page 1, 2, …: the page's checksum; 0: not known
 *
 * version   1
 * checksum  CRC-32 of the page, begun with the page's number, so that a page in another's place does not
 *           pass; 1 in place of 0
 * total     over all known entries, the sums modulo 2^32 of two hashes of page number and checksum; 16
 *           hexadecimal digits. It stands in the record beside the copy, with the position (sidecar.ts)
 *
 * An entry speaks of the page in the file as it was when `folded` was recorded; a page that is in the
 * present log is not judged by it, for the next fold writes both anew. Entries are written and synced
 * before that record is made and while the log still stands: after a crash in between they are made
 * again from the log. A file of sums that no record vouches for says nothing.
 */
import fs from "node:fs";
import path from "node:path";
import { crc32 } from "node:zlib";
import { syncDirectory } from "../targets/directory.ts";
import { isPageSize } from "../wal/format.ts";
import { readFully, writeFully } from "../wal/scan.ts";

export const ENTRY_SIZE = 4;
export const SUMS_HEADER_SIZE = 16;

/** Of a copy's sums, what stands in its record. */
export interface SumsRecord {
  /** How many pages the file has. */
  readonly pages: number;
  /** Null: not known since a crash; the entries are right all the same. */
  readonly total: string | null;
}

export function sumsPath(copy: string): string {
  return `${copy}-lockstep-sums`;
}

/** Removes what is left of sums that were being made, and could not even be removed then. */
export function dropUnfinished(copy: string): void {
  fs.rmSync(fresh(copy), { force: true });
}

export function checksumOf(page: number, bytes: Uint8Array): number {
  return crc32(bytes, page) || 1;
}

/** The total of some entries; those that become known are added, those that are replaced removed. */
export class Total {
  #a: number;
  #b: number;

  constructor(text = "0000000000000000") {
    this.#a = Number.parseInt(text.slice(0, 8), 16);
    this.#b = Number.parseInt(text.slice(8), 16);
  }

  add(page: number, entry: number): void {
    if (entry === 0) return;
    this.#a = (this.#a + hash(page, entry, 0x9e3779b1)) >>> 0;
    this.#b = (this.#b + hash(page, entry, 0x85ebca77)) >>> 0;
  }

  remove(page: number, entry: number): void {
    if (entry === 0) return;
    this.#a = (this.#a - hash(page, entry, 0x9e3779b1)) >>> 0;
    this.#b = (this.#b - hash(page, entry, 0x85ebca77)) >>> 0;
  }

  /** Adds what was added to, and removed from, another total that began at nothing. */
  join(other: string): void {
    const { a, b } = new Total(other).#words;
    this.#a = (this.#a + a) >>> 0;
    this.#b = (this.#b + b) >>> 0;
  }

  toString(): string {
    return hex(this.#a) + hex(this.#b);
  }

  get #words(): { a: number; b: number } {
    return { a: this.#a, b: this.#b };
  }
}

/** The sums of a copy, to be read or kept up to date. Nothing of a database is opened or closed. */
export class SumsFile {
  readonly pageSize: number;
  readonly #fd: number;

  private constructor(fd: number, pageSize: number) {
    this.#fd = fd;
    this.pageSize = pageSize;
  }

  /** @returns null if there is none, or it is not one */
  static open(copy: string, flags: "r" | "r+"): SumsFile | null {
    let fd: number;
    try {
      fd = fs.openSync(sumsPath(copy), flags);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
    const head = Buffer.alloc(SUMS_HEADER_SIZE);
    const length = readFully(fd, head, 0, head.length, 0);
    const pageSize = head.readUInt32BE(12);
    if (length === head.length && isPageSize(pageSize) && head.equals(encodeHeader(pageSize))) {
      return new SumsFile(fd, pageSize);
    }
    fs.closeSync(fd);
    return null;
  }

  /** How many entries there are. */
  get length(): number {
    return Math.floor((fs.fstatSync(this.#fd).size - SUMS_HEADER_SIZE) / ENTRY_SIZE);
  }

  /** The entries of `count` pages from `first` on; those that the file does not have are 0. */
  read(first: number, count: number): number[] {
    const bytes = this.#readBytes(first, count);
    return Array.from({ length: count }, (_, i) => bytes.readUInt32BE(i * ENTRY_SIZE));
  }

  /**
   * Replaces entries, and in `total` what they were by what they are.
   * @throws if it is not wanted any more: asked before each write
   */
  patch(entries: ReadonlyMap<number, number>, total: Total, wanted: () => boolean): void {
    const pages = [...entries.keys()].sort((a, b) => a - b);
    for (let i = 0; i < pages.length; ) {
      const first = pages[i] as number;
      let end = i + 1;
      while (end < pages.length && (pages[end] as number) - first < BLOCK_ENTRIES) end++;
      const bytes = this.#readBytes(first, (pages[end - 1] as number) - first + 1);
      for (; i < end; i++) {
        const page = pages[i] as number;
        const entry = entries.get(page) as number;
        const at = (page - first) * ENTRY_SIZE;
        total.remove(page, bytes.readUInt32BE(at));
        total.add(page, entry);
        bytes.writeUInt32BE(entry, at);
      }
      if (!wanted()) throw new Error("nobody waits for the sums any more");
      writeFully(this.#fd, bytes, 0, bytes.length, offsetOf(first));
    }
  }

  /** Drops the entries of pages that the file no longer has. */
  shrink(pages: number, total: Total): void {
    const before = this.length;
    if (before <= pages) return;
    for (let first = pages + 1; first <= before; first += BLOCK_ENTRIES) {
      const count = Math.min(BLOCK_ENTRIES, before - first + 1);
      const dropped = this.read(first, count);
      for (const [i, entry] of dropped.entries()) total.remove(first + i, entry);
    }
    fs.ftruncateSync(this.#fd, offsetOf(pages + 1));
  }

  sync(): void {
    fs.fdatasyncSync(this.#fd);
  }

  close(): void {
    fs.closeSync(this.#fd);
  }

  #readBytes(first: number, count: number): Buffer {
    const bytes = Buffer.alloc(count * ENTRY_SIZE);
    readFully(this.#fd, bytes, 0, bytes.length, offsetOf(first));
    return bytes;
  }
}

/**
 * Makes the sums of copies that are equal, page by page from the first on; they take their names when
 * they are whole.
 */
export class SumsWriter {
  readonly #files: readonly { readonly copy: string; readonly fd: number }[];
  readonly #block = Buffer.alloc(BLOCK_ENTRIES_WRITTEN * ENTRY_SIZE);
  readonly #total = new Total();
  #pages = 0;

  constructor(copies: readonly string[], pageSize: number, mode: number) {
    const files: { copy: string; fd: number }[] = [];
    this.#files = files;
    try {
      for (const copy of copies) {
        const fd = fs.openSync(fresh(copy), "w", mode | 0o600);
        files.push({ copy, fd });
        writeFully(fd, encodeHeader(pageSize), 0, SUMS_HEADER_SIZE, 0);
      }
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  add(entry: number): void {
    const at = this.#pages % BLOCK_ENTRIES_WRITTEN;
    this.#block.writeUInt32BE(entry, at * ENTRY_SIZE);
    this.#pages++;
    this.#total.add(this.#pages, entry);
    if (at + 1 === BLOCK_ENTRIES_WRITTEN) this.#flush(BLOCK_ENTRIES_WRITTEN);
  }

  /** The sums stand under their names, durably. */
  finish(): SumsRecord {
    this.#flush(this.#pages % BLOCK_ENTRIES_WRITTEN);
    for (const { copy, fd } of this.#files) {
      fs.fsyncSync(fd); // durable: new sums
      // durable, in this order: new sums: named, then synced
      fs.renameSync(fresh(copy), sumsPath(copy));
      syncDirectory(path.dirname(copy)); // durable: the name of new sums
    }
    for (const { fd } of this.#files) fs.closeSync(fd);
    return { pages: this.#pages, total: String(this.#total) };
  }

  /** Removes what has no name yet; does not throw. */
  abandon(): void {
    for (const { copy, fd } of this.#files) {
      try {
        fs.closeSync(fd);
        fs.rmSync(fresh(copy), { force: true });
      } catch {
        // What is left is removed by the next who opens the copy.
      }
    }
  }

  #flush(entries: number): void {
    const length = entries * ENTRY_SIZE;
    const at = offsetOf(this.#pages - entries + 1);
    for (const { fd } of this.#files) writeFully(fd, this.#block, 0, length, at);
  }
}

// --- internal ---

const MAGIC = "LOCKSUMS";
const VERSION = 1;
/** How many entries are read and written at once. */
const BLOCK_ENTRIES = 1024;
const BLOCK_ENTRIES_WRITTEN = 1 << 16;

/** Where sums are made. */
function fresh(copy: string): string {
  return `${sumsPath(copy)}-new`;
}

function offsetOf(page: number): number {
  return SUMS_HEADER_SIZE + (page - 1) * ENTRY_SIZE;
}

function encodeHeader(pageSize: number): Buffer {
  const head = Buffer.alloc(SUMS_HEADER_SIZE);
  head.write(MAGIC, "latin1");
  head.writeUInt32BE(VERSION, 8);
  head.writeUInt32BE(pageSize, 12);
  return head;
}

function hash(page: number, entry: number, seed: number): number {
  let x = Math.imul(page ^ seed, 0xcc9e2d51) ^ entry;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

function hex(word: number): string {
  return word.toString(16).padStart(8, "0");
}
