/** A file that was written since it was stamped is told from one that was not. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { readFingerprint, sameFingerprint, stampUnused } from "../../src/lineage/fingerprint.ts";
import { scratch } from "../scratch.ts";

test("every write shows, however soon it comes", (t) => {
  const file = path.join(scratch(t), "a");
  fs.writeFileSync(file, "aaaa");
  for (let i = 0; i < 200; i++) {
    const stamped = stampUnused(file);
    assert.deepEqual(readFingerprint(file), stamped);
    const fd = fs.openSync(file, "r+");
    fs.writeSync(fd, "bbbb", 0);
    fs.closeSync(fd);
    const now = readFingerprint(file);
    assert.ok(now && !sameFingerprint(now, stamped), `write ${i}`);
  }
});

test("two stamps on one file are never the same", (t) => {
  const file = path.join(scratch(t), "a");
  fs.writeFileSync(file, "aaaa");
  const seen = new Set(Array.from({ length: 200 }, () => stampUnused(file).mtimeNs));
  assert.ok(seen.size > 195);
});

test("a missing file has none", (t) => {
  assert.equal(readFingerprint(path.join(scratch(t), "a")), null);
  assert.throws(() => stampUnused(path.join(scratch(t), "a")), { code: "ENOENT" });
});
