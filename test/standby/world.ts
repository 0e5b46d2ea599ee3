/** A stream, in an archive if nothing else is said, the primary that writes it, and a place for a copy. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { Archive, createArchive } from "../../src/stream/archive.ts";
import type { StreamLog } from "../../src/stream/log.ts";
import { verify } from "../../src/verify.ts";
import { scratch } from "../scratch.ts";
import { StreamWriter, type WriterOptions } from "../support/stream-writer.ts";

export interface World<Log extends StreamLog = Archive> {
  readonly log: Log;
  readonly writer: StreamWriter;
  readonly dest: string;
  readonly archive: string;
}

export async function world(t: TestContext, options: WriterOptions = {}): Promise<World> {
  const directory = scratch(t);
  const archive = path.join(directory, "archive");
  await createArchive(archive);
  return { ...(await worldOf(t, directory, await Archive.open(archive), options)), archive };
}

/** @param log an empty one */
export async function worldOf<Log extends StreamLog>(
  t: TestContext,
  directory: string,
  log: Log,
  options: WriterOptions = {},
): Promise<World<Log>> {
  const writer = await StreamWriter.begin(log, path.join(directory, "main.db"), options);
  t.after(() => writer.close());
  return { log, writer, dest: path.join(directory, "standby.db"), archive: "" };
}

/** Adds rows of noise. */
export const insert = (rows: number, bytes = 100): string =>
  `INSERT INTO t(x) SELECT randomblob(${bytes}) FROM (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<${rows}) SELECT i FROM c)`;

/** The copy is the primary's, byte for byte, and sound. */
export async function assertEqual({ writer, dest }: World<StreamLog>): Promise<void> {
  const report = await verify(writer.file, dest);
  assert.ok(report.identical, `${report.differing} pages differ`);
  assert.equal(report.integrity.b, "ok");
}

/** What a database says, as one word. */
export function contentOf(db: DatabaseSync): string {
  const digest = createHash("sha256");
  for (const { id, x } of db.prepare("SELECT id, hex(x) AS x FROM t ORDER BY id").all()) {
    digest.update(`${id} ${x}\n`);
  }
  return digest.digest("hex");
}

export function contentAt(file: string): string {
  const db = new DatabaseSync(file);
  try {
    return contentOf(db);
  } finally {
    db.close();
  }
}
