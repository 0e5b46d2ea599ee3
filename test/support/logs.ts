/** Logs that SQLite itself wrote, as bytes; and ways to re-encode and to damage them. */
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import {
  checksum,
  FRAME_HEADER_SIZE,
  frameSize,
  type Sums,
  WAL_HEADER_SIZE,
  WAL_MAGIC_BIG_ENDIAN,
  WAL_MAGIC_LITTLE_ENDIAN,
  ZERO_SUMS,
} from "../../src/wal/format.ts";

export const PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] as const;

export interface Written {
  /** The database and its log, as they lay while the writer had them open. */
  readonly file: Buffer;
  readonly log: Buffer;
  readonly pageSize: number;
}

/** Runs each statement as a transaction of its own, on a fresh database, without checkpoints. */
export function writeLog(
  directory: string,
  pageSize: number,
  statements: readonly string[],
): Written {
  const name = path.join(fs.mkdtempSync(path.join(directory, "log-")), "made.db");
  const db = new DatabaseSync(name);
  try {
    db.exec(`PRAGMA page_size=${pageSize}; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0`);
    for (const sql of statements) db.exec(sql);
    return { file: fs.readFileSync(name), log: fs.readFileSync(`${name}-wal`), pageSize };
  } finally {
    db.close();
  }
}

/** A table and then so many transactions, of one to a few pages each. */
export function someTransactions(count: number): string[] {
  const rows = Array.from(
    { length: count },
    (_, i) => `INSERT INTO t VALUES(${i + 1}, randomblob(${(i * 977) % 3000}))`,
  );
  return ["CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)", ...rows];
}

/** Puts a file and its log side by side and returns the file's name. */
export function place(directory: string, { file, log }: { file: Buffer; log: Buffer }): string {
  const name = path.join(fs.mkdtempSync(path.join(directory, "placed-")), "placed.db");
  fs.writeFileSync(name, file);
  fs.writeFileSync(`${name}-wal`, log);
  return name;
}

/** What SQLite makes of a file and its log: the numbers of the rows it finds. */
export function rowsSeenBySqlite(
  directory: string,
  written: { file: Buffer; log: Buffer },
): number[] {
  const db = new DatabaseSync(place(directory, written));
  try {
    const [table] = db.prepare("SELECT 1 FROM sqlite_schema WHERE name='t'").all();
    return table
      ? db
          .prepare("SELECT n FROM t")
          .all()
          .map((row) => Number(row["n"]))
      : [];
  } finally {
    db.close();
  }
}

/** The same log with all its checksums made anew, over words of the given byte order. */
export function resum(log: Buffer, bigEndian: boolean): Buffer {
  const out = Buffer.from(log);
  const pageSize = out.readUInt32BE(8);
  out.writeUInt32BE(bigEndian ? WAL_MAGIC_BIG_ENDIAN : WAL_MAGIC_LITTLE_ENDIAN, 0);
  let sums = put(out, 24, checksum(out, 0, 24, ZERO_SUMS, bigEndian));
  const size = frameSize(pageSize);
  for (let at = WAL_HEADER_SIZE; at + size <= out.length; at += size) {
    const head = checksum(out, at, at + 8, sums, bigEndian);
    sums = put(out, at + 16, checksum(out, at + FRAME_HEADER_SIZE, at + size, head, bigEndian));
  }
  return out;
}

/** A copy of the log with one byte changed. */
export function damaged(log: Buffer, at: number, flip = 0x40): Buffer {
  const out = Buffer.from(log);
  out[at] = (out[at] as number) ^ flip;
  return out;
}

function put(out: Buffer, at: number, sums: Sums): Sums {
  out.writeUInt32BE(sums.sum1, at);
  out.writeUInt32BE(sums.sum2, at + 4);
  return sums;
}
