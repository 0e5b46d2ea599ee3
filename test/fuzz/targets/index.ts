/**
 * A wal-index of any bytes. SharedIndex takes it for valid exactly if SQLite does, which rebuilds it
 * otherwise; and an IndexWriter that refuses it leaves it as it is, one that appends changes nothing
 * but the header and what lies beyond the end, and leads a reader to the frames that it added.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Commit } from "../../../src/wal/chain.ts";
import {
  checksum,
  decodeWalHeader,
  frameOffset,
  type WalHeader,
  ZERO_SUMS,
} from "../../../src/wal/format.ts";
import { IndexWriter } from "../../../src/wal/index-writer.ts";
import { scanLog } from "../../../src/wal/scan.ts";
import {
  BLOCK_SIZE,
  FIRST_BLOCK_FRAMES,
  INDEX_HEADER_SIZE,
  SharedIndex,
  SLOTS_AT,
} from "../../../src/wal/shared-index.ts";
import type { Random } from "../../crash/random.ts";
import { type Ending, scratch } from "../../scratch.ts";
import { damage } from "../bytes.ts";
import type { Target } from "../fuzzer.ts";

export interface IndexInput {
  /** Which transaction is appended. */
  readonly step: number;
  readonly index: Buffer;
}

/** An index as SQLite left it before and after a transaction. */
interface Step {
  readonly header: WalHeader;
  readonly before: Commit;
  readonly pages: readonly number[];
  readonly end: Commit;
  readonly index: Buffer;
}

const HEADERS_SIZE = 96;
const CANNOT_OPEN = 14;

/** @param isValid the function under test: a canary's is wrong */
export function indexTarget(
  t: Ending,
  isValid = (fd: number): boolean => new SharedIndex(fd).read(),
): Target<IndexInput> {
  const directory = scratch(t);
  const { steps, sqlite, shm } = make(t, directory);
  const file = path.join(directory, "index");
  return {
    name: "index",
    corpus: steps.map(({ index }, step) => ({ step, index })),
    mutate({ step, index }, others, random) {
      const out = random.oneIn(2)
        ? damage(index, random.pick(others).index, random)
        : forgeHeader(Buffer.from(index), random);
      return { step: random.oneIn(20) ? random.below(steps.length) : step, index: out };
    },
    check({ step, index }) {
      fs.rmSync(file, { force: true });
      fs.writeFileSync(file, index);
      const fd = fs.openSync(file, "r+");
      try {
        const valid = isValid(fd);
        if (isFitForSqlite(index)) {
          const accepted = acceptedBySqlite(sqlite, shm, index);
          // SQLite's own isInit is 1; others than 0 it would take as well, and we need not.
          if (accepted && index[12] === 1) assert.ok(valid, "valid for SQLite, and for us");
          if (valid) assert.ok(accepted, "valid for us, and for SQLite");
        }
        append(fd, file, index, steps[step] as Step, valid);
      } finally {
        fs.closeSync(fd);
      }
    },
  };
}

function append(fd: number, file: string, index: Buffer, step: Step, valid: boolean): void {
  const { header, before, pages, end } = step;
  const appended = new IndexWriter(fd).append(header, before, pages, end);
  const after = fs.readFileSync(file);
  if (!appended) {
    assert.ok(after.equals(index), "what was refused was not changed");
    return;
  }
  assert.ok(valid, "only a valid index is appended to");
  const shown = new SharedIndex(fd);
  assert.ok(shown.read(), "valid afterwards");
  assert.deepEqual([shown.frames, shown.sum1, shown.sum2], [end.frame, end.sum1, end.sum2]);
  const entries = INDEX_HEADER_SIZE + before.frame * 4;
  const kept = (bytes: Buffer): Buffer => bytes.subarray(HEADERS_SIZE, entries);
  assert.ok(kept(after).equals(kept(index)), "what is counted already was not changed");
  assert.ok(after.subarray(BLOCK_SIZE).equals(index.subarray(BLOCK_SIZE)), "nor other blocks");
  pages.forEach((page, i) => {
    const frame = before.frame + i + 1;
    assert.ok(framesOf(after, page).includes(frame), `frame ${frame} is found for page ${page}`);
  });
}

/** What a reader comes by when it looks for a page in the first block. */
function framesOf(index: Buffer, page: number): number[] {
  const found: number[] = [];
  for (let slot = (page * 383) % 8192, looked = 0; looked < 8192; looked++) {
    const n = index.readUInt16LE(SLOTS_AT + slot * 2);
    if (n === 0) break;
    if (index.readUInt32LE(INDEX_HEADER_SIZE + (n - 1) * 4) === page) found.push(n);
    slot = (slot + 1) % 8192;
  }
  return found;
}

/** One with more frames than it has room for would have SQLite map, and allocate, what it counts. */
function isFitForSqlite(index: Buffer): boolean {
  if (index.length < BLOCK_SIZE) return false; // what is mapped must not be cut off
  return index.readUInt32LE(16) <= FIRST_BLOCK_FRAMES;
}

/** Does a connection that has the file open take this header as it is? */
function acceptedBySqlite(db: DatabaseSync, shm: number, index: Buffer): boolean {
  const header = index.subarray(0, HEADERS_SIZE);
  fs.writeSync(shm, header, 0, HEADERS_SIZE, 0);
  try {
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
  } catch (error) {
    // Another version is refused; one that is valid may still lead nowhere.
    if ((error as { errcode?: number }).errcode === CANNOT_OPEN) return false;
  }
  const now = Buffer.alloc(HEADERS_SIZE);
  fs.readSync(shm, now, 0, HEADERS_SIZE, 0);
  return now.equals(header);
}

/** Both copies say the same, something else, under a sum that is right. */
function forgeHeader(index: Buffer, random: Random): Buffer {
  if (index.length < HEADERS_SIZE) return index;
  const fields = [0, 4, 8, 12, 16, 16, 20, 24, 28, 32, 36];
  for (let i = random.between(1, 2); i > 0; i--) {
    const near = index.readUInt32LE(16) + random.between(-2, 2);
    const value = random.pick([0, 1, near, random.below(FIRST_BLOCK_FRAMES), 0xffffffff]);
    index.writeUInt32LE(value >>> 0, random.pick(fields));
  }
  index[12] = random.oneIn(8) ? random.below(3) : 1;
  const sums = checksum(index, 0, 40, ZERO_SUMS, false);
  index.writeUInt32LE(sums.sum1, 40);
  index.writeUInt32LE(sums.sum2, 44);
  index.copyWithin(48, 0, 48);
  return index;
}

/** Indexes of real transactions, and a connection that keeps its own. */
function make(t: Ending, directory: string): { steps: Step[]; sqlite: DatabaseSync; shm: number } {
  const name = path.join(directory, "made.db");
  const sqlite = new DatabaseSync(name);
  t.after(() => sqlite.close());
  sqlite.exec("PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
  sqlite.exec("PRAGMA synchronous=OFF; CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)");
  const shm = fs.openSync(`${name}-shm`, "r+"); // stays open: closing it would drop locks
  const steps: Step[] = [];
  for (let i = 1; i < 12; i++) {
    const index = Buffer.alloc(BLOCK_SIZE);
    fs.readSync(shm, index, 0, BLOCK_SIZE, 0);
    sqlite.exec(`INSERT INTO t VALUES(${i}, zeroblob(${(i * 701) % 3000}))`);
    const commits = scanLog(`${name}-wal`)?.commits ?? [];
    const [before, end] = commits.slice(-2) as [Commit, Commit];
    const log = fs.readFileSync(`${name}-wal`);
    const pages: number[] = [];
    for (let n = before.frame + 1; n <= end.frame; n++) {
      pages.push(log.readUInt32BE(frameOffset(n, 512)));
    }
    steps.push({ header: decodeWalHeader(log) as WalHeader, before, pages, end, index });
  }
  return { steps, sqlite, shm };
}
