/**
 * Goal: whatever pages a log's frames are of, the wal-index appended to by hand is SQLite's.
 * Method: logs of any page numbers, in transactions of any size; SQLite's rebuild is the oracle.
 * Replay: SEED=<seed> npx node --test test/property/index.test.ts
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import fc from "fast-check";
import type { Commit } from "../../src/wal/chain.ts";
import {
  encodeFrameHeader,
  encodeWalHeader,
  frameOffset,
  frameSize,
  type Sums,
} from "../../src/wal/format.ts";
import { IndexWriter } from "../../src/wal/index-writer.ts";
import { SharedIndex } from "../../src/wal/shared-index.ts";
import { scratch } from "../scratch.ts";
import { runs, seed } from "../support/seed.ts";
import { differenceOf, shownBy } from "../support/twins.ts";

const SIZE = 512;

/** Page numbers: all over the range, or many of few, or such as share a slot. */
const kinds = [
  fc.integer({ min: 2, max: 2 ** 32 - 1 }),
  fc.integer({ min: 2, max: 6 }),
  fc.integer({ min: 1, max: 2 ** 19 - 1 }).map((n) => n * 8192),
  fc.integer({ min: 2 ** 32 - 9, max: 2 ** 32 - 1 }),
];
const small = fc.array(fc.oneof(...kinds), { minLength: 1, maxLength: 6 });
const large = fc
  .tuple(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 2, max: 2 ** 31 }), fc.nat(5000))
  .map(([count, from, by]) => Array.from({ length: count }, (_, i) => 2 + ((from + i * by) >>> 1)));
const step = fc.record({
  pages: fc.oneof({ weight: 8, arbitrary: small }, { weight: 1, arbitrary: large }),
  /** Before it: the writer is another one; the index is rebuilt; a killed writer left entries. */
  event: fc.constantFrom("", "", "", "renewed", "rebuilt", "leftovers"),
});

test(`seed ${seed}: any pages, any transactions: the index is as SQLite rebuilds it`, (t) => {
  const directory = scratch(t);
  let made = 0;
  const property = fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
    const file = path.join(directory, `${made++}.db`);
    const db = new DatabaseSync(file);
    db.exec(`PRAGMA page_size=${SIZE}; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0`);
    db.exec("CREATE TABLE t(x); PRAGMA wal_checkpoint(TRUNCATE)");
    const look = (): unknown => db.prepare("SELECT count(*) FROM sqlite_schema").get();
    look();
    const shm = fs.openSync(`${file}-shm`, "r+"); // stays open: closing it would drop locks
    const log = fs.openSync(`${file}-wal`, "r+");
    const index = new SharedIndex(shm);
    let writer = new IndexWriter(shm);
    const head = Buffer.alloc(32);
    const header = encodeWalHeader(head, { pageSize: SIZE, checkpoint: 0, salt1: 5, salt2: 77 });
    fs.writeSync(log, head, 0, 32, 0);
    let before: Sums & { frame: number } = { frame: 0, ...header };
    try {
      for (const { pages, event } of steps) {
        if (event === "renewed") writer = new IndexWriter(shm);
        if (event === "rebuilt") {
          index.invalidate();
          look();
        }
        if (event === "leftovers") leave(shm, before.frame);
        const bytes = Buffer.alloc(pages.length * frameSize(SIZE));
        let sums: Sums = before;
        pages.forEach((page, i) => {
          const commit = i === pages.length - 1 ? 2 : 0;
          sums = encodeFrameHeader(bytes, i * frameSize(SIZE), { page, commit }, sums, header);
        });
        fs.writeSync(log, bytes, 0, bytes.length, frameOffset(before.frame + 1, SIZE));
        const end: Commit = { frame: before.frame + pages.length, pages: 2, ...sums };
        assert.ok(writer.append(header, before, pages, end));
        before = end;
      }
      const ours = shownBy(file, before.frame);
      index.invalidate();
      look();
      assert.ok(index.read());
      assert.equal(index.frames, before.frame);
      assert.equal(differenceOf(shownBy(file, before.frame), ours), null);
    } finally {
      db.close();
      for (const fd of [log, shm]) fs.closeSync(fd);
    }
  });
  fc.assert(property, { seed, numRuns: runs(40) });
});

/** Entries of a few frames that never were committed. */
function leave(shm: number, frames: number): void {
  if (frames === 0 || frames > 4000) return; // in the first block, and not at its beginning
  const block = Buffer.alloc(32768);
  fs.readSync(shm, block, 0, block.length, 0);
  for (let n = frames + 1; n < frames + 20; n++) {
    const page = n * 13;
    block.writeUInt32LE(page, 136 + (n - 1) * 4);
    let slot = (page * 383) % 8192;
    while (block.readUInt16LE(16384 + slot * 2) !== 0) slot = (slot + 1) % 8192;
    block.writeUInt16LE(n, 16384 + slot * 2);
  }
  fs.writeSync(shm, block, 136, block.length - 136, 136);
}
