/**
 * A primary came back to its stream, began to install its log there anew, and was killed. The next start found the stream
 * where it had stood, and went on from there. The dead beginning of the log was taken for the log: standbys said that
 * they had diverged, and images named a log that led nowhere.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { originPosition, type Position, samePosition } from "../../src/lineage/position.ts";
import { piecesOf, readLogHeader } from "../../src/mirror/follow.ts";
import { Outbox } from "../../src/mirror/outbox.ts";
import { follow } from "../../src/standby/follow.ts";
import { Archive, createArchive } from "../../src/stream/archive.ts";
import { findStart } from "../../src/stream/find.ts";
import { imageOf } from "../../src/stream/image.ts";
import { beginningOf } from "../../src/stream/log-file.ts";
import { takeSnapshot } from "../../src/stream/snapshots.ts";
import { readTail } from "../../src/stream/tail.ts";
import { StreamWriter } from "../../src/stream/writer.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";

const never = new AbortController().signal;
const identity = { databaseId: "01234567-89ab-cdef-0123-456789abcdef", timeline: 1 };
const CAPACITY = 64 << 10;

function endOf(log: string): Position {
  const scan = scanLog(log);
  const end = scan?.commits.at(-1);
  assert.ok(scan && end);
  const { salt1, salt2 } = scan.header;
  return { timeline: 1, salt1, salt2, frame: end.frame, sum1: end.sum1, sum2: end.sum2 };
}

test("the log that counts is found, by standbys and for images", async (t) => {
  const directory = scratch(t);
  const [file, base, standby] = ["p.db", "base.db", "s.db"].map((name) =>
    path.join(directory, name),
  );
  assert.ok(file && base && standby);
  const wal = `${file}-wal`;
  await createArchive(path.join(directory, "archive"));
  const log = await Archive.open(path.join(directory, "archive"));
  const begin = async (): Promise<StreamWriter> => {
    const tail = await readTail(log, null);
    const writer = new StreamWriter(log, tail, null);
    await writer.open(identity, tail, never);
    return writer;
  };
  const keep = async (writer: StreamWriter, of: string, frame: number) => {
    const { pageSize, chunks } = await imageOf(of, () => {});
    const wrap = { keys: null, compress: true, signal: never };
    const note = await takeSnapshot(log, chunks, { after: writer.last, frame, pageSize, ...wrap });
    return { note, pageSize };
  };
  /** Sends the log up to `to`, or only so many messages of it. */
  const send = async (writer: StreamWriter, outbox: Outbox, to: Position, messages = Infinity) => {
    let left = messages;
    for (const { record, window } of piecesOf(wal, outbox.next(to), to)) {
      for (const piece of outbox.add(record, window)) {
        if (left-- <= 0) return;
        await writer.frames(piece, never);
      }
    }
    for (const piece of outbox.rest()) await writer.frames(piece, never);
  };

  const db = new DatabaseSync(file);
  t.after(() => db.close());
  db.exec(
    "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(n INTEGER PRIMARY KEY, d)",
  );
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  fs.copyFileSync(file, base);
  const put = (from: number, to: number, bytes: number): void => {
    for (let n = from; n <= to; n++) db.exec(`INSERT INTO t VALUES(${n}, randomblob(${bytes}))`);
  };

  // The stream begins, and a standby follows.
  put(1, 3, 100);
  const origin = originPosition(1);
  const first = await begin();
  const image = await keep(first, base, 0);
  const at = { position: origin, pageSize: image.pageSize, base: null };
  await first.snapshot({ ...image.note, logFrom: null, install: 0 }, at, never);
  await send(
    first,
    new Outbox(CAPACITY, { position: origin, header: null, base: null }),
    endOf(wal),
  );
  await follow(log, standby, { once: true });

  // The primary went on without it; it comes back with an image and its whole log, and is killed in the middle.
  put(4, 200, 2000);
  db.exec("PRAGMA wal_checkpoint(PASSIVE)");
  const end = endOf(wal);
  const cut = await begin();
  const second = await keep(cut, file, end.frame);
  const there = { position: end, pageSize: second.pageSize, base: origin };
  await cut.snapshot({ ...second.note, logFrom: null, install: end.frame }, there, never);
  const dead = new Outbox(CAPACITY, { position: end, header: null, base: origin });
  dead.beginAnew(end, origin);
  await send(cut, dead, end, 3);

  // The next start goes on where the stream stands.
  const last = await begin();
  const { position, base: under } = await readTail(log, null);
  assert.ok(position && position.frame < end.frame);
  const header = readLogHeader(wal, position);
  await send(last, new Outbox(CAPACITY, { position, header, base: under }), end);
  const { position: now } = await readTail(log, null);
  assert.ok(now && samePosition(now, end));

  const followed = await follow(log, standby, { once: true });
  assert.match(followed.position, new RegExp(`/${end.frame}/`));
  const logFrom = await beginningOf(log, end, last.last);
  const third = await keep(last, file, end.frame);
  await last.snapshot({ ...third.note, logFrom, install: 0 }, there, never);
  const ends = await log.ends();
  const start = await findStart(log, ends, { to: ends.last, position: null }, null);
  assert.equal(start?.snapshot.sequence, ends.last, "the newest image can be used");
  const made = await follow(log, path.join(directory, "new.db"), { once: true });
  assert.equal(made.position, followed.position);
});
