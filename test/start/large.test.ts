/** Databases beyond 1 GiB, where the page that holds SQLite's lock byte is never data. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { writeDelta } from "../../src/lineage/delta.ts";
import { decodeFrameHeader, frameOffset, LOCK_BYTE } from "../../src/wal/format.ts";
import { compareImages, lockPage } from "../../src/wal/image.ts";
import { scratch } from "../scratch.ts";
import { runSql } from "../support/files.ts";
import { Scene } from "../support/scene.ts";

const PAGE = 65536;
const LOCK_PAGE = lockPage(PAGE);

/** A sparse file that begins like a database, with a mark in the given pages. */
function sparse(file: string, pages: number, marked: readonly number[]): void {
  runSql(file, `PRAGMA page_size=${PAGE}; PRAGMA journal_mode=WAL; CREATE TABLE t(x)`);
  fs.truncateSync(file, pages * PAGE);
  const fd = fs.openSync(file, "r+");
  const size = Buffer.alloc(4);
  size.writeUInt32BE(pages);
  fs.writeSync(fd, size, 0, 4, 28);
  for (const page of marked) fs.writeSync(fd, "mark", (page - 1) * PAGE);
  fs.closeSync(fd);
}

test("the lock page is no difference, and no frame of a delta", (t) => {
  const directory = scratch(t);
  const [from, to] = ["from.db", "to.db"].map((name) => path.join(directory, name)) as [
    string,
    string,
  ];
  assert.equal((LOCK_PAGE - 1) * PAGE, LOCK_BYTE);
  const pages = LOCK_PAGE + 3;
  sparse(to, pages, []);
  sparse(from, pages, [LOCK_PAGE - 1, LOCK_PAGE, LOCK_PAGE + 1]);
  assert.deepEqual(compareImages(from, to).different, [LOCK_PAGE - 1, LOCK_PAGE + 1]);
  const log = `${to}-wal`;
  assert.equal(writeDelta(from, to, log, { salt1: 1, salt2: 2 }, () => {}).differing, 2);
  const bytes = fs.readFileSync(log);
  const frames = [1, 2].map((n) => decodeFrameHeader(bytes, frameOffset(n, PAGE)));
  assert.deepEqual(
    frames.map(({ page, commit }) => [page, commit]),
    [
      [LOCK_PAGE - 1, 0],
      [LOCK_PAGE + 1, pages],
    ],
  );
});

const long = process.env["LOCKSTEP_LONG"] === "1" ? false : "a long run: LOCKSTEP_LONG=1";

test("data on both sides of it: copied, mirrored, re-synchronised", { skip: long }, (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  runSql(
    scene.primary,
    "PRAGMA page_size=4096; PRAGMA synchronous=OFF; CREATE TABLE old(n INTEGER PRIMARY KEY, x)",
    ...[1, 2].map((n) => `INSERT INTO old VALUES(${n}, zeroblob(${LOCK_BYTE / 2 - (10 << 20)}))`),
  );
  const fill = (n: number): string => `INSERT INTO old VALUES(${n}, randomblob(15000000))`;
  scene.life((db) => {
    for (let n = 3; n <= 5; n++) db.exec(fill(n)); // across the lock page
    db.put(3);
  });
  scene.life((db) => db.exec(fill(6)), { replicas: [1] });
  scene.life((db) => db.exec("UPDATE old SET x = randomblob(100) WHERE n = 4"), { replicas: [1] });
  const db = scene.open();
  assert.deepEqual(db.phases(), ["delta"]);
  db.put(3);
  db.close();
  assert.ok(fs.statSync(scene.primary).size > LOCK_BYTE);
});
