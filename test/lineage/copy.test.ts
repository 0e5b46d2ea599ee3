/** A first copy is the file, byte for byte, whatever its size and whichever way it was written. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { copyFile } from "../../src/lineage/copy.ts";
import { DirectFile } from "../../src/lineage/direct.ts";
import { checksumOf, SumsFile } from "../../src/lineage/sums.ts";
import { scratch } from "../scratch.ts";
import { runSql } from "../support/files.ts";

const MIB = 1 << 20;

test("files of any size: of no block, of blocks, of whole pieces, and with an end that fills no block", async (t) => {
  const directory = scratch(t);
  const from = path.join(directory, "from");
  for (const size of [0, 1, 512, 4096, 4608, 2 * MIB, 2 * MIB + 1, 7 * MIB + 512, 8 * MIB]) {
    const to = path.join(directory, `to-${size}`);
    const bytes = randomBytes(size);
    fs.writeFileSync(from, bytes, { mode: 0o640 });
    const told: number[] = [];
    await copyFile(from, to, (done) => told.push(done), { of: [], from: null });
    assert.ok(fs.readFileSync(to).equals(bytes), `${size} bytes`);
    assert.equal(fs.statSync(to).mode, fs.statSync(from).mode);
    assert.equal(told.at(-1) ?? 0, size, "it told how far it was");
  }
});

test("the sums are those of the pages, across pieces", async (t) => {
  const directory = scratch(t);
  const [from, to] = [path.join(directory, "from.db"), path.join(directory, "to.db")];
  const rows = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<1200)";
  runSql(from, "CREATE TABLE t(data BLOB)", `${rows} INSERT INTO t SELECT randomblob(4000) FROM c`);
  const { sums } = await copyFile(from, to, () => {}, { of: [to], from: null });
  const bytes = fs.readFileSync(to);
  assert.equal(sums?.pages, bytes.length / 4096);
  assert.ok(bytes.length > 4 * MIB, "in several pieces");
  const file = SumsFile.open(to, "r");
  const expected = Array.from({ length: bytes.length / 4096 }, (_, i) =>
    checksumOf(i + 1, bytes.subarray(i * 4096, (i + 1) * 4096)),
  );
  assert.deepEqual(file?.read(1, expected.length), expected);
  file?.close();
});

test("memory that cannot be written directly is written all the same", async (t) => {
  const to = path.join(scratch(t), "to");
  const bytes = randomBytes(8192 + 1).subarray(1); // it begins where no page of the system's does
  const file = new DirectFile(to, 0o644);
  await file.write(bytes, 0);
  await file.write(bytes, bytes.length);
  file.sync();
  file.close();
  assert.ok(fs.readFileSync(to).equals(Buffer.concat([bytes, bytes])));
});
