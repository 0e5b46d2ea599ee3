/**
 * A primary whose replica is a stream, written through the drop-in. What the stream holds is made a database
 * again by SQLite alone: an image, then each generation's log put beside it and folded.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync as Plain } from "node:sqlite";
import { DatabaseSync, type ReplicationOptions } from "../../src/index.ts";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { createArchive } from "../../src/stream/archive.ts";
import type { Ends } from "../../src/stream/log.ts";
import { openStream } from "../../src/stream/open.ts";
import { type Piece, Reading, type Snapshot } from "../../src/stream/reading.ts";
import { unwrap } from "../../src/stream/seal.ts";
import { decodeSegment, kinds } from "../../src/stream/segment.ts";
import { readSnapshot } from "../../src/stream/snapshots.ts";
import { frameOffset } from "../../src/wal/format.ts";
import { type Ending, scratch } from "../scratch.ts";
import { copyDirectory, keepFingerprint, readAtRest } from "../support/files.ts";

export class Streamed {
  readonly root: string;
  readonly primary: string;
  readonly address: string;
  /** What was acknowledged: rows 1 to this. */
  acknowledged = 0;

  constructor(root: string, address: string, name = "main") {
    this.root = root;
    this.primary = path.join(root, name, "app.db");
    this.address = address;
    fs.mkdirSync(path.dirname(this.primary), { recursive: true });
  }

  /** With an archive. @param settings behind its address */
  static async make(t: Ending, settings = ""): Promise<Streamed> {
    const root = fs.realpathSync(scratch(t));
    await createArchive(path.join(root, "archive"));
    return new Streamed(root, `archive:${path.join(root, "archive")}${settings}`);
  }

  get archive(): string {
    return path.join(this.root, "archive");
  }

  /** The primary as it lies now, as a primary elsewhere: what kill -9 would leave. */
  clone(name: string): Streamed {
    const clone = new Streamed(this.root, this.address, name);
    copyDirectory(`${path.dirname(this.primary)}/.`, path.dirname(clone.primary));
    const now = readFingerprint(clone.primary);
    const { ino } = fs.statSync(this.primary, { bigint: true });
    if (now) keepFingerprint(clone.primary, { ...now, inode: String(ino) });
    clone.acknowledged = this.acknowledged;
    return clone;
  }

  open(options: ReplicationOptions = {}): DatabaseSync {
    const db = new DatabaseSync(this.primary, { replicas: [this.address], ...options });
    db.exec("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, data BLOB)");
    return db;
  }

  put(db: DatabaseSync, count = 1, bytes = 100): void {
    const insert = db.prepare("INSERT INTO t VALUES(?, randomblob(?))");
    for (let i = 0; i < count; i++) {
      insert.run(this.acknowledged + 1, bytes);
      this.acknowledged++;
    }
  }

  /** Opens, runs, closes, compares. */
  async life(use: (db: DatabaseSync) => void, options: ReplicationOptions = {}): Promise<void> {
    const db = this.open(options);
    try {
      use(db);
    } finally {
      db.close();
    }
    await this.assertEqual();
  }

  /** The primary is closed: the stream leads to it, byte for byte, and every acknowledged row is there. */
  async assertEqual(): Promise<void> {
    const made = path.join(this.root, "made.db");
    await materialize(this.address, made);
    assert.ok(fs.readFileSync(made).equals(fs.readFileSync(this.primary)), "byte for byte");
    const rows = readAtRest(this.primary, (db) => db.prepare("SELECT n FROM t ORDER BY n").all());
    const found = rows.map(({ n }) => Number(n)).filter((n) => n <= this.acknowledged);
    assert.equal(found.length, this.acknowledged, "every acknowledged row is there");
    const [check] = readAtRest(made, (db) => db.prepare("PRAGMA integrity_check").all());
    assert.deepEqual({ ...check }, { integrity_check: "ok" });
  }

  async ends(): Promise<Ends> {
    const { log } = await openStream(this.address);
    try {
      return await log.ends();
    } finally {
      await log.close();
    }
  }

  /** What every message of the stream means. */
  messages(): Promise<string[]> {
    return messagesOf(this.address);
  }
}

/** What every message of a stream means. */
export async function messagesOf(address: string): Promise<string[]> {
  const { log, keys } = await openStream(address);
  const { first, last } = await log.ends();
  const reading = new Reading(log.name, first, keys);
  const said: string[] = [];
  for await (const entry of log.read(first, { to: last })) said.push(reading.take(entry).is);
  await log.close();
  return said;
}

/** Makes the database that a stream ends in. Returns its position. */
export async function materialize(address: string, to: string): Promise<string> {
  const { log, keys } = await openStream(address);
  const { first, last } = await log.ends();
  const reading = new Reading(log.name, first, keys);
  const pieces = new Map<number, Piece>();
  let isBegun = false;
  const begin = async (snapshot: Snapshot): Promise<void> => {
    for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${to}${suffix}`, { force: true });
    for await (const bytes of readSnapshot(log, snapshot.note, keys)) fs.appendFileSync(to, bytes);
  };
  for await (const entry of log.read(first, { to: last })) {
    const taken = reading.take(entry);
    if (taken.is === "piece" || taken.is === "end") pieces.set(entry.sequence, taken.piece);
    const isFirst =
      taken.is === "snapshot" && (taken.snapshot.note.logFrom ?? 0) >= first && !isBegun;
    if (isFirst || taken.is === "installed") {
      await begin(taken.snapshot);
      isBegun = true;
      const from = taken.snapshot.note.logFrom ?? taken.snapshot.sequence;
      for await (const { sequence, bytes } of log.read(from, { to: entry.sequence })) {
        const { header, wrapped } = decodeSegment(bytes, log.name);
        if (header.kind !== kinds.FRAMES) continue;
        append(to, { header, payload: unwrap(header, wrapped, keys, `${sequence}`) });
      }
      pieces.clear();
    }
    if (!isBegun) pieces.clear(); // what a snapshot to come contains
    if (taken.is !== "end") continue;
    for (let at = taken.from; at <= entry.sequence; at++) {
      const piece = pieces.get(at);
      if (piece) append(to, piece);
    }
    pieces.clear();
  }
  await log.close();
  fold(to);
  assert.ok(reading.state.position, "the stream holds something");
  return formatPosition(reading.state.position);
}

function append(to: string, { header, payload }: Pick<Piece, "header" | "payload">): void {
  if (header.first === 1) fold(to);
  const fd = fs.openSync(`${to}-wal`, header.first === 1 ? "w" : "r+");
  fs.writeSync(
    fd,
    payload,
    0,
    payload.length,
    header.first === 1 ? 0 : frameOffset(header.first, header.pageSize),
  );
  fs.closeSync(fd);
}

/** SQLite makes of a file and its log what it makes of them. */
function fold(file: string): void {
  if (!fs.existsSync(`${file}-wal`)) return;
  const db = new Plain(file);
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  db.close();
}
