/**
 * The logical image of a database: its pages as a reader sees them, which are those of the file
 * overlaid with the newest committed frame of each page in its `-wal`.
 *
 *     size     the last commit frame's; without one the file's length, or what its header says if that
 *              is more and its change counter (byte 24) equals its version-valid-for number (byte 92)
 *     page n   its newest frame up to the last commit frame; else the file's bytes
 *
 * The page that holds SQLite's lock byte (1 GiB) is never data and belongs to no image.
 *
 * Everything here reads through descriptors of its own. Closing one of a database file drops all
 * POSIX locks of the process on that file: use this only in a process that has the database open
 * nowhere else, or close the images after every connection.
 *
 * An image of a database in use holds still only while a read transaction on the database is open
 * (verify.ts). SQLite then neither folds frames beyond the reader's mark into the file nor restarts
 * the log, with one exception: a reader that found the log folded whole needs the file only, and
 * the log may restart once beneath it. A frame is therefore believed only if the log's header still
 * stands after it was read; where it does not, the file holds the page.
 */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import type { Commit } from "./chain.ts";
import {
  decodeWalHeader,
  FRAME_HEADER_SIZE,
  frameOffset,
  isPageSize,
  LOCK_BYTE,
  sameSalts,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "./format.ts";
import { naming, readFully, scanLog, writeFully } from "./scan.ts";

/** Called while long work is done: bytes of the larger side, done and in all. */
export type ByteProgress = (bytesDone: number, bytesTotal: number) => void;

export interface Transaction {
  readonly commit: Commit;
  /** Page number to the frame that holds it. */
  readonly pages: ReadonlyMap<number, number>;
}

/** The committed transactions of a log, and an open descriptor to read their pages from. */
export class Log {
  readonly header: WalHeader;
  readonly transactions: readonly Transaction[];
  readonly #fd: number;

  private constructor(fd: number, header: WalHeader, transactions: readonly Transaction[]) {
    this.#fd = fd;
    this.header = header;
    this.transactions = transactions;
  }

  /** Reads the log at `path`; null if there is none or nothing is committed in it. */
  static open(path: string): Log | null {
    for (;;) {
      const fd = openIfThere(path);
      if (fd === null) return null;
      const transactions: Transaction[] = [];
      const scan = scanLog(path, (commit, pages) => transactions.push({ commit, pages }));
      if (scan && transactions.length > 0) {
        const log = new Log(fd, scan.header, transactions);
        if (log.stands()) return log;
      }
      fs.closeSync(fd);
      if (!scan || transactions.length === 0) return null;
      // It restarted while it was scanned: what was seen is a mixture. Again.
    }
  }

  /** The last commit, which says how long the image is. */
  get end(): Commit {
    return (this.transactions.at(-1) as Transaction).commit;
  }

  /** Is the log still of the generation that was scanned? */
  stands(): boolean {
    const bytes = new Uint8Array(WAL_HEADER_SIZE);
    readFully(this.#fd, bytes, 0, bytes.length, 0);
    const now = decodeWalHeader(bytes);
    return now !== null && sameSalts(now, this.header);
  }

  /** Reads the page in `frame`; false if the log has restarted. */
  read(frame: number, into: Uint8Array, at: number): boolean {
    const { pageSize } = this.header;
    const start = frameOffset(frame, pageSize) + FRAME_HEADER_SIZE;
    return readFully(this.#fd, into, at, pageSize, start) === pageSize && this.stands();
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

export class Image {
  readonly path: string;
  /** In bytes; 0 if the database is empty. */
  readonly pageSize: number;
  /** How many pages it has, the lock page included. */
  readonly pages: number;
  /**
   * Pages whose content at the end of this image is not certain: it was cut short, and they have no
   * frame before the cut but one after it, which a checkpoint may have put into the file already.
   */
  readonly doubtful: ReadonlySet<number>;
  readonly #fd: number;
  readonly #log: Log | null;
  readonly #frames = new Map<number, number>();

  /**
   * @param fd of the database file; stays the caller's to close
   * @param log the committed log beside it, or null
   * @param cut the commit frame of `log` at which the image ends; default its last
   */
  constructor(path: string, fd: number, log: Log | null, cut = Number.POSITIVE_INFINITY) {
    this.path = path;
    this.#fd = fd;
    this.#log = fs.fstatSync(fd).size === 0 ? null : log; // SQLite drops a log beside an empty file
    this.pageSize = pageSizeOf(fd, path);
    if (this.#log && this.#log.header.pageSize !== this.pageSize) throw foreignLog(path);
    let pages = pagesOfFile(fd, this.pageSize);
    const doubtful = new Set<number>();
    for (const transaction of this.#log?.transactions ?? []) {
      const within = transaction.commit.frame <= cut;
      if (within) pages = transaction.commit.pages;
      for (const [page, frame] of transaction.pages) {
        if (within) this.#frames.set(page, frame);
        else if (!this.#frames.has(page)) doubtful.add(page);
      }
    }
    this.pages = pages;
    this.doubtful = doubtful;
    if (this.#log && pages * this.pageSize > mostBytes(fd, this.#log)) throw oversized(path);
  }

  /** Reads `count` pages from page `first` on; returns those that are missing, which read as 0. */
  read(first: number, count: number, into: Uint8Array): readonly number[] {
    const size = this.pageSize;
    const at = (first - 1) * size;
    const bytes = naming(this.path, () => readFully(this.#fd, into, 0, count * size, at));
    const whole = Math.floor(bytes / size);
    let missing: number[] | null = null;
    if (whole < count) into.fill(0, whole * size, count * size);
    if (this.#frames.size === 0 && whole === count) return NONE;
    for (let i = 0; i < count; i++) {
      const page = first + i;
      const frame = this.#frames.get(page);
      if (frame === undefined) {
        if (i >= whole && page !== lockPage(size)) (missing ??= []).push(page);
      } else if (!this.#log?.read(frame, into, i * size)) {
        readFully(this.#fd, into, i * size, size, (page - 1) * size);
      }
    }
    return missing ?? NONE;
  }

  /** Writes the image to an empty file, which then is the database without a log. */
  writeTo(fd: number, progress: ByteProgress = () => {}): void {
    const size = this.pageSize;
    const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / (size || 1)));
    const chunk = new Uint8Array(perChunk * size);
    for (let first = 1; first <= this.pages; first += perChunk) {
      const count = Math.min(perChunk, this.pages - first + 1);
      this.read(first, count, chunk);
      writeFully(fd, chunk, 0, count * size, (first - 1) * size);
      progress((first - 1 + count) * size, this.pages * size);
    }
  }
}

export interface Comparison {
  /** Pages of the larger image. */
  readonly pages: number;
  /** The numbers of the pages that differ, ascending; the first `max` of them. */
  readonly different: readonly number[];
  /** How many pages differ in all. */
  readonly differing: number;
}

/** How many differing pages are listed if not told otherwise. */
export const DIFFERENT_MAX = 10_000;

/**
 * Compares page by page. A page that only one image has differs; so does page 1, which names the
 * page size, if the page sizes do, and then no other page is looked at.
 */
export function compare(
  a: Image,
  b: Image,
  progress: ByteProgress = () => {},
  max = DIFFERENT_MAX,
): Comparison {
  const pages = Math.max(a.pages, b.pages);
  const size = Math.max(a.pageSize, b.pageSize);
  const different: number[] = [];
  let differing = 0;
  const differs = (page: number): void => {
    if (++differing <= max) different.push(page);
  };
  if (a.pages > 0 && b.pages > 0 && a.pageSize !== b.pageSize) {
    return { pages, different: [1], differing: 1 };
  }
  const common = Math.min(a.pages, b.pages);
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / (size || 1)));
  const left = Buffer.allocUnsafeSlow(perChunk * size);
  const right = Buffer.allocUnsafeSlow(perChunk * size);
  for (let first = 1; first <= common; first += perChunk) {
    const count = Math.min(perChunk, common - first + 1);
    const missingLeft = a.read(first, count, left);
    const missingRight = b.read(first, count, right);
    const missing = missingLeft.length + missingRight.length > 0;
    if (missing || left.compare(right, 0, count * size, 0, count * size) !== 0) {
      for (let i = 0; i < count; i++) {
        const page = first + i;
        const at = i * size;
        const equal =
          left.compare(right, at, at + size, at, at + size) === 0 &&
          missingLeft.includes(page) === missingRight.includes(page);
        if (!equal && page !== lockPage(size)) differs(page);
      }
    }
    progress((first - 1 + count) * size, pages * size);
  }
  for (let page = common + 1; page <= pages; page++) if (page !== lockPage(size)) differs(page);
  if (common < pages || pages === 0) progress(pages * size, pages * size);
  return { pages, different, differing };
}

/**
 * The same for two paths. Both must hold still, and this process have neither open elsewhere.
 * @param cut the commit frame of both logs at which the images end; default the last of each. Pages
 *   that are doubtful there are not compared: each is written anew by the frames after it
 */
export function compareImages(
  a: string,
  b: string,
  progress?: ByteProgress,
  cut?: number,
): Comparison {
  return withImage(
    a,
    (left) =>
      withImage(
        b,
        (right) => {
          const { pages, different } = compare(left, right, progress, Number.POSITIVE_INFINITY);
          const certain = different.filter((p) => !left.doubtful.has(p) && !right.doubtful.has(p));
          return { pages, different: certain, differing: certain.length };
        },
        cut,
      ),
    cut,
  );
}

/** Opens the image at `path` for as long as `use` runs. */
export function withImage<T>(path: string, use: (image: Image) => T, cut?: number): T {
  const fd = fs.openSync(path, "r");
  let log: Log | null = null;
  try {
    log = Log.open(`${path}-wal`);
    return use(new Image(path, fd, log, cut));
  } finally {
    log?.close();
    fs.closeSync(fd);
  }
}

/**
 * The page size of a database file, in bytes; 0 if the file is empty.
 * @throws LockstepError NOT_A_DATABASE
 */
export function pageSizeOf(fd: number, path: string | null = null): number {
  const head = new Uint8Array(HEADER_SIZE);
  const read = () => readFully(fd, head, 0, head.length, 0);
  const n = path === null ? read() : naming(path, read);
  return n === 0 ? 0 : pageSizeIn(head.subarray(0, n), path);
}

/** The same of a file that begins with these bytes. */
export function pageSizeIn(head: Uint8Array, path: string | null = null): number {
  const value = ((head[16] ?? 0) << 8) | (head[17] ?? 0);
  const size = value === 1 ? 65536 : value;
  const magic = Buffer.from(head.subarray(0, 16)).toString("latin1") === "SQLite format 3\0";
  if (head.length >= HEADER_SIZE && magic && isPageSize(size)) return size;
  throw new LockstepError(codes.NOT_A_DATABASE, {
    copy: path,
    what: "The file does not begin like a SQLite database",
    state: "It was only read",
    next: "Name a SQLite database",
  });
}

/** The page that holds the lock byte. */
export function lockPage(pageSize: number): number {
  return LOCK_BYTE / pageSize + 1;
}

// --- internal ---

function openIfThere(path: string): number | null {
  try {
    return fs.openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

const HEADER_SIZE = 100;
const CHUNK_BYTES = 1 << 20;
const NONE: readonly number[] = [];

function pagesOfFile(fd: number, pageSize: number): number {
  if (pageSize === 0) return 0;
  const head = new Uint8Array(HEADER_SIZE);
  readFully(fd, head, 0, head.length, 0);
  const view = new DataView(head.buffer);
  const stated = view.getUint32(24) === view.getUint32(92) ? view.getUint32(28) : 0;
  // What lies behind the stated end is no data, but SQLite counts it: its next commit's size has it.
  return Math.max(stated, Math.ceil(fs.fstatSync(fd).size / pageSize));
}

/** More than this a file and its log cannot hold; SQLite folds no log that claims to. */
function mostBytes(fd: number, { end, header }: Log): number {
  return fs.fstatSync(fd).size + end.frame * header.pageSize + 65536;
}

function oversized(path: string): LockstepError {
  return new LockstepError(codes.VERIFY, {
    copy: path,
    what: "The log beside it claims more pages than it and the file can hold: it is damaged",
    state: "Nothing was changed",
    next: "Go on from another copy: lockstep restore, or lockstep sync with --from",
  });
}

function foreignLog(path: string): LockstepError {
  return new LockstepError(codes.VERIFY, {
    copy: path,
    what: "The log beside it has another page size: it belongs to another database",
    state: "Nothing was changed",
    next: `Find out where ${path}-wal comes from before any program opens the database`,
  });
}
