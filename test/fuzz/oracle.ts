/** What SQLite itself makes of a database file and a log: its recovery, and then its checkpoint. */
import fs from "node:fs";
import path from "node:path";
import { type DriverName, loadDriver } from "../../src/driver.ts";
import {
  BLOCK_FRAMES,
  BLOCK_SIZE,
  FIRST_BLOCK_FRAMES,
  INDEX_HEADER_SIZE,
} from "../../src/wal/shared-index.ts";

export interface Recovered {
  /** What the recovered wal-index shows; null if SQLite did not come as far. */
  readonly log: {
    readonly frames: number;
    readonly pages: number;
    readonly pageSize: number;
    readonly sums: readonly [number, number];
    /** As they stand in the log's header. */
    readonly salts: readonly [number, number];
    /** Of each frame the number of its page. */
    readonly pageOf: readonly number[];
  } | null;
  /** The file with its log folded into it; null if SQLite refused that. */
  readonly folded: Buffer | null;
  /** Why something was refused. */
  readonly refused: string | null;
}

export function recover(
  directory: string,
  { file, log, driver = "node:sqlite" }: { file: Buffer; log: Buffer; driver?: DriverName },
): Recovered {
  const name = path.join(directory, "oracle.db");
  for (const suffix of ["-shm", "-journal"]) fs.rmSync(name + suffix, { force: true });
  renew(name, file);
  renew(`${name}-wal`, log);
  const db = loadDriver(driver).open(name);
  const refused: string[] = [];
  const attempt = (sql: string): boolean => {
    try {
      const rows = db.all(sql);
      return rows[0]?.["busy"] === undefined || rows[0]["busy"] === 0;
    } catch (error) {
      refused.push((error as Error).message);
      return false;
    }
  };
  try {
    attempt("PRAGMA wal_autocheckpoint=0");
    attempt("PRAGMA synchronous=OFF");
    attempt("SELECT count(*) FROM sqlite_schema");
    const shown = readIndex(`${name}-shm`);
    const done = attempt("PRAGMA wal_checkpoint(PASSIVE)");
    const folded = done && refused.length === 0 ? fs.readFileSync(name) : null;
    return { log: shown, folded, refused: refused[0] ?? null };
  } finally {
    db.close();
  }
}

/** Makes a file anew. To cut off the old one would have the disk write the new one at once. */
export function renew(file: string, bytes: Uint8Array): void {
  fs.rmSync(file, { force: true });
  fs.writeFileSync(file, bytes);
}

function readIndex(file: string): Recovered["log"] {
  if (!fs.existsSync(file)) return null;
  const bytes = fs.readFileSync(file);
  if (bytes.length < INDEX_HEADER_SIZE || bytes[12] !== 1) return null;
  const size = bytes.readUInt16LE(14);
  const frames = bytes.readUInt32LE(16);
  return {
    frames,
    pages: bytes.readUInt32LE(20),
    pageSize: (size & 0xfe00) + ((size & 1) << 16),
    sums: [bytes.readUInt32LE(24), bytes.readUInt32LE(28)],
    salts: [bytes.readUInt32BE(32), bytes.readUInt32BE(36)],
    pageOf: Array.from({ length: frames }, (_, i) => bytes.readUInt32LE(entryOf(i + 1))),
  };
}

/** Where the index has the number of a frame's page. */
function entryOf(frame: number): number {
  if (frame <= FIRST_BLOCK_FRAMES) return INDEX_HEADER_SIZE + (frame - 1) * 4;
  const after = frame - 1 - FIRST_BLOCK_FRAMES;
  return (1 + Math.floor(after / BLOCK_FRAMES)) * BLOCK_SIZE + (after % BLOCK_FRAMES) * 4;
}
