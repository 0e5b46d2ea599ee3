/**
 * Reads all pages of copies that are at rest in one position, and judges each page (judge.ts). A page that
 * its disk cannot read is taken for one of zeroes. What has rotted is kept aside (rot.ts), and what replaces it is written as a log under fresh salts, one for each
 * copy, that takes effect when it is put beside its file (resync.ts). Here the copies themselves are
 * only read. Their sums are made anew where they were missing, not whole, or rotten themselves.
 *
 * Runs where nobody has a database open (bulk.ts).
 */
import fs from "node:fs";
import type { Salts } from "../wal/format.ts";
import { type ByteProgress, lockPage, pageSizeOf } from "../wal/image.ts";
import { naming, readFully } from "../wal/scan.ts";
import { DeltaLog } from "./delta.ts";
import { judge, type Verdict } from "./judge.ts";
import { RotLog } from "./rot.ts";
import { checksumOf, SumsFile, type SumsRecord, SumsWriter, Total } from "./sums.ts";

export interface ScrubTask {
  readonly task: "scrub";
  readonly copies: readonly ScrubCopy[];
}

export interface ScrubCopy extends Salts {
  readonly path: string;
  /** What the record says of its sums. */
  readonly sums: SumsRecord | null;
  /** Where the log that repairs it is to be written; there is no such file. */
  readonly log: string;
}

export interface ScrubResult {
  readonly pages: number;
  readonly pageSize: number;
  /** The pages that are not sound, ascending; the first `FINDINGS_MAX`. */
  readonly findings: readonly Finding[];
  readonly copies: readonly ScrubbedCopy[];
  /** How many pages no copy can vouch for: rotten in all of them; and how many just differ. */
  readonly lost: number;
  readonly different: number;
}

export interface Finding {
  readonly page: number;
  readonly is: Exclude<Verdict["is"], "sound">;
  /** The copies, by number, in which it has rotted. */
  readonly rotten: readonly number[];
  /** The copy that has it as it was; null if none. */
  readonly from: number | null;
}

export interface ScrubbedCopy {
  /** How many of its pages had rotted and are in its repair log: that log's frames. */
  readonly repaired: number;
  /** "held": as they should be. "made": there were none. "rebuilt": they had rotted, or were not whole. */
  readonly state: "held" | "made" | "rebuilt";
  /** Its sums now. */
  readonly sums: SumsRecord | null;
}

export const FINDINGS_MAX = 10_000;

export function scrubPages({ copies }: ScrubTask, progress: ByteProgress): ScrubResult {
  const sides = copies.map((copy) => new Side(copy));
  try {
    const pageSize = sides.map((side) => side.pageSize).find((size) => size > 0);
    if (pageSize === undefined) pageSizeOf(sides[0]?.fd as number, copies[0]?.path); // throws
    return new Scrub(sides, pageSize as number).run(progress);
  } finally {
    for (const side of sides) side.close();
  }
}

// --- internal ---

const CHUNK_BYTES = 1 << 20;

class Scrub {
  readonly #sides: readonly Side[];
  readonly #pageSize: number;
  readonly #pages: number;
  readonly #findings: Finding[] = [];
  #lost = 0;
  #different = 0;

  constructor(sides: readonly Side[], pageSize: number) {
    this.#sides = sides;
    this.#pageSize = pageSize;
    this.#pages = Math.max(...sides.map(({ fd }) => Math.floor(fs.fstatSync(fd).size / pageSize)));
  }

  run(progress: ByteProgress): ScrubResult {
    const size = this.#pageSize;
    const perChunk = CHUNK_BYTES / size;
    for (const side of this.#sides) side.begin(size, this.#pages, perChunk);
    for (let first = 1; first <= this.#pages; first += perChunk) {
      const count = Math.min(perChunk, this.#pages - first + 1);
      for (const side of this.#sides) side.read(first, count);
      for (let i = 0; i < count; i++) this.#look(first + i, i);
      progress((first - 1 + count) * size, this.#pages * size);
    }
    const copies = this.#sides.map((side) => side.finish());
    const found = { findings: this.#findings, lost: this.#lost, different: this.#different };
    return { pages: this.#pages, pageSize: size, copies, ...found };
  }

  /** Page number `page`, which is the `i`th of what was read. */
  #look(page: number, i: number): void {
    const sides = this.#sides;
    if (page === lockPage(this.#pageSize)) {
      for (const side of sides) side.put(0, i); // it is never data, and never written
      return;
    }
    const bytes = sides.map((side) => side.page(i));
    const first = bytes[0] as Buffer;
    const equal = bytes.every((each) => each.equals(first));
    const one = equal ? checksumOf(page, first) : 0;
    const is = bytes.map((each) => (equal ? one : checksumOf(page, each)));
    const verdict = judge(
      is,
      sides.map((side) => side.entry(i)),
      equal,
    );
    for (const side of sides) side.put(verdict.entry, i);
    if (verdict.is === "sound") return;
    if (verdict.is === "lost") this.#lost++;
    if (verdict.is === "different") this.#different++;
    const rotten =
      verdict.is === "rotten"
        ? verdict.rotten
        : verdict.is === "lost"
          ? sides.map((_, n) => n)
          : [];
    const from = verdict.is === "rotten" ? verdict.from : null;
    if (this.#findings.length < FINDINGS_MAX) {
      this.#findings.push({ page, is: verdict.is, rotten, from });
    }
    if (from === null) return;
    for (const n of rotten) {
      const side = sides[n] as Side;
      side.repair(page, bytes[n] as Buffer, bytes[from] as Buffer, is[n] as number, verdict.entry);
    }
  }
}

/** One copy while it is read. */
class Side {
  readonly fd: number;
  /** As its sums, or else its first page, have it; 0 if neither can be believed. */
  readonly pageSize: number;
  readonly #copy: ScrubCopy;
  /** Null if there are none, or they are not what the record vouches for. */
  readonly #sums: SumsFile | null;
  readonly #rot: RotLog;
  #bytes: Buffer = Buffer.alloc(0);
  #entries: readonly number[] = [];
  #size = 0;
  #pages = 0;
  #writer: SumsWriter | null = null;
  #log: DeltaLog | null = null;
  /** Is some entry another than it was? */
  #isNew: boolean;

  constructor(copy: ScrubCopy) {
    this.#copy = copy;
    this.fd = fs.openSync(copy.path, "r");
    const { size } = fs.fstatSync(this.fd);
    this.#sums = copy.sums && openVouchedFor(copy.path, copy.sums, size);
    this.#isNew = this.#sums === null || copy.sums?.total === null;
    this.pageSize = this.#sums?.pageSize ?? pageSizeIfAny(this.fd);
    this.#rot = new RotLog(copy.path);
  }

  begin(pageSize: number, pages: number, perChunk: number): void {
    const { mode } = fs.fstatSync(this.fd);
    const { path, log } = this.#copy;
    this.#size = pageSize;
    this.#pages = pages;
    this.#bytes = Buffer.alloc(perChunk * pageSize);
    this.#writer = new SumsWriter([path], pageSize, mode);
    this.#log = new DeltaLog(log, mode, pageSize, this.#copy, pages);
  }

  read(first: number, count: number): void {
    this.#entries = this.#sums?.read(first, count) ?? [];
    if (this.#isRead(0, first, count)) return;
    for (let i = 0; i < count; i++) this.#isRead(i, first + i, 1); // what the disk gives of them
  }

  /** Reads pages to where the `i`th belongs; false: the disk says that it cannot, and they are zeroes. */
  #isRead(i: number, first: number, count: number): boolean {
    const [at, length] = [i * this.#size, count * this.#size];
    const from = (first - 1) * this.#size;
    let n = 0;
    try {
      n = naming(this.#copy.path, () => readFully(this.fd, this.#bytes, at, length, from));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EIO") throw error;
      return false;
    } finally {
      this.#bytes.fill(0, at + n, at + length);
    }
  }

  page(i: number): Buffer {
    return this.#bytes.subarray(i * this.#size, (i + 1) * this.#size);
  }

  entry(i: number): number {
    return this.#entries[i] ?? 0;
  }

  put(entry: number, i: number): void {
    this.#isNew ||= entry !== this.entry(i);
    this.#writer?.add(entry);
  }

  repair(page: number, was: Buffer, good: Buffer, checksum: number, expected: number): void {
    this.#rot.add(page, was, checksum, expected);
    this.#log?.add(page, good);
  }

  /** What was written is on stable storage; nothing of it has taken effect but the sums. */
  finish(): ScrubbedCopy {
    this.#rot.finish();
    this.#log?.finish();
    const { sums } = this.#copy;
    const repaired = this.#log?.frames ?? 0;
    if (!this.#isNew) {
      this.#writer?.abandon();
      this.#writer = null;
      return { repaired, state: "held", sums: sums && { ...sums, pages: this.#pages } };
    }
    const made = this.#writer?.finish() ?? null;
    this.#writer = null;
    return { repaired, state: sums ? "rebuilt" : "made", sums: made };
  }

  close(): void {
    this.#writer?.abandon();
    this.#log?.close();
    this.#rot.close();
    this.#sums?.close();
    fs.closeSync(this.fd);
  }
}

/** The sums of a copy of so many bytes, if they are of such a file and add up to what the record says. */
function openVouchedFor(copy: string, { pages, total }: SumsRecord, size: number): SumsFile | null {
  const file = SumsFile.open(copy, "r");
  if (!file) return null;
  const isOfFile = size === pages * file.pageSize;
  if (isOfFile && (total === null || totalOf(file) === total)) return file;
  file.close();
  return null;
}

function totalOf(file: SumsFile): string {
  const total = new Total();
  const step = 1 << 16;
  for (let first = 1; first <= file.length; first += step) {
    const entries = file.read(first, Math.min(step, file.length - first + 1));
    for (const [i, entry] of entries.entries()) total.add(first + i, entry);
  }
  return String(total);
}

function pageSizeIfAny(fd: number): number {
  try {
    return pageSizeOf(fd);
  } catch {
    return 0; // its first page may have rotted
  }
}
