/** Images of the primary beside its stream: whole, of one position, and read back before anything is removed. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import { originPosition } from "../../src/lineage/position.ts";
import { StreamImages } from "../../src/mirror/stream-images.ts";
import { backwards } from "../../src/stream/find.ts";
import { imageOf } from "../../src/stream/image.ts";
import type { Keys } from "../../src/stream/keys.ts";
import type { StreamLog } from "../../src/stream/log.ts";
import { readSnapshotNote } from "../../src/stream/notes.ts";
import { openStream } from "../../src/stream/open.ts";
import { parseKeep, shorten } from "../../src/stream/retention.ts";
import { unwrap } from "../../src/stream/seal.ts";
import { kinds } from "../../src/stream/segment.ts";
import { readTail } from "../../src/stream/tail.ts";
import { StreamWriter } from "../../src/stream/writer.ts";
import { scratch } from "../scratch.ts";
import { runSql } from "../support/files.ts";
import { Streamed } from "./streamed.ts";

const never = new AbortController().signal;

async function gather(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

test("an image is the file, byte for byte, and its page size is told", async (t) => {
  const file = path.join(scratch(t), "a.db");
  runSql(
    file,
    "PRAGMA page_size=1024",
    "CREATE TABLE t(b)",
    "INSERT INTO t VALUES(randomblob(3000000))",
  );
  const told: number[] = [];
  const { pageSize, chunks } = await imageOf(file, (done) => told.push(done));
  assert.ok((await gather(chunks)).equals(fs.readFileSync(file)));
  assert.deepEqual([pageSize, told.at(-1)], [1024, fs.statSync(file).size]);
});

test("one that becomes shorter while it is read is none; nor is what is no database", async (t) => {
  const file = path.join(scratch(t), "a.db");
  runSql(file, "CREATE TABLE t(b)", "INSERT INTO t VALUES(zeroblob(40000000))");
  const { chunks } = await imageOf(file, () => {});
  fs.truncateSync(file, 1 << 20);
  await assert.rejects(gather(chunks), /it was not read whole/);
  fs.writeFileSync(file, "no database");
  await assert.rejects(
    imageOf(file, () => {}),
    { code: "ERR_LOCKSTEP_NOT_A_DATABASE" },
  );
});

test("an image of a file that was written meanwhile is not kept", async (t) => {
  const streamed = await Streamed.make(t);
  await streamed.life((db) => streamed.put(db, 3));
  const { address, primary } = streamed;
  const { log, keys } = await openStream(address);
  const tail = await readTail(log, keys);
  const writer = new StreamWriter(log, tail, keys);
  await writer.open({ databaseId: tail.databaseId as string, timeline: 1 }, tail, never);
  const images = new StreamImages({
    ...{ address, log, keys, writer, signal: never },
    ...{ onProgress: () => {}, onReady: () => {} },
  });
  const file = readFingerprint(primary);
  const position = tail.position ?? originPosition(1);
  const of = { databaseId: tail.databaseId as string, timeline: 1, position, base: null };
  await images.make({ ...of, primary, file, history: [] });
  runSql(primary, "INSERT INTO t VALUES(1000, 'x')");
  await assert.rejects(images.make({ ...of, primary, file, history: [] }), {
    code: "ERR_LOCKSTEP_BUSY",
  });
  await log.close();
});

test("nothing is removed while the newest image cannot be read back", async (t) => {
  const streamed = await Streamed.make(t, "?imageBytes=100000&keep=1d");
  const db = streamed.open({ checkpointBytes: 50_000 });
  const directory = path.join(streamed.archive, "snapshots");
  const deadline = Date.now() + 60_000;
  while ((await streamed.messages()).filter((is) => is === "snapshot").length < 3) {
    assert.ok(Date.now() < deadline, "three images are made");
    streamed.put(db, 20, 3000);
  }
  db.close();
  const { log, keys } = await openStream(streamed.address);
  const newest = path.join(directory, await newestImage(log, keys));
  const bytes = fs.readFileSync(newest);
  const { first } = await log.ends();
  fs.writeFileSync(newest, Buffer.concat([bytes.subarray(0, 100), bytes.subarray(101)]));
  await assert.rejects(shorten(log, keys, 0, { signal: never }), {
    code: /ERR_LOCKSTEP_(VERIFY|REPLICA_CHANGED)/,
  });
  assert.equal((await log.ends()).first, first);
  fs.writeFileSync(newest, bytes);
  await shorten(log, keys, 0, { signal: never });
  assert.ok((await log.ends()).first > first);
  await log.close();
  await streamed.assertEqual();
});

/** The last one that the stream speaks of: another one may have been made, and not announced when it was closed. */
async function newestImage(log: StreamLog, keys: Keys | null): Promise<string> {
  for await (const { header, wrapped, where } of backwards(log, await log.ends())) {
    if (header.kind !== kinds.SNAPSHOT) continue;
    return readSnapshotNote(unwrap(header, wrapped, keys, where), where).object;
  }
  assert.fail("the stream speaks of an image");
}

test("how long is kept: days, hours or minutes", () => {
  assert.deepEqual(
    ["7d", "12h", "30m", "0m"].map(parseKeep),
    [604_800_000, 43_200_000, 1_800_000, 0],
  );
  for (const text of ["", "7", "d", "7 d", "-1d", "1w", "1.5d"])
    assert.equal(parseKeep(text), null);
});
