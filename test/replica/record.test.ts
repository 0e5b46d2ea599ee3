/** The record of a copy, read past its lock: all of it at one moment, whatever its owner is about. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { originPosition } from "../../src/lineage/position.ts";
import { Sidecar, sidecarPath } from "../../src/lineage/sidecar.ts";
import { RecordReader } from "../../src/replica/record.ts";
import { scratch } from "../scratch.ts";
import { elsewhere } from "../support/program.ts";

const driver = loadDriver("node:sqlite");

test("it is read while this process holds it, and while it changes", (t) => {
  const copy = path.join(fs.realpathSync(scratch(t)), "app.db");
  const reader = new RecordReader(driver, copy);
  assert.equal(reader.read(), null, "there is none");
  const sidecar = Sidecar.open(driver, copy, "replica");
  for (let timeline = 1; timeline < 100; timeline++) {
    sidecar.update({ databaseId: "d", timeline }, { history: [originPosition(timeline)] });
    const read = reader.read();
    assert.equal(read?.state.timeline, timeline);
    assert.equal(read?.history.length, timeline);
    assert.equal(read?.owner?.driver, "node:sqlite");
  }
  const [answer] = elsewhere(sidecarPath(copy), ["SELECT * FROM state"]);
  assert.match(String(answer?.error), /locked/, "the lock is where it was");
  sidecar.close();
});

test("a transaction that a dying process left half done is not seen, and not touched", (t) => {
  const copy = path.join(fs.realpathSync(scratch(t)), "app.db");
  const sidecar = Sidecar.open(driver, copy, "replica");
  sidecar.update({ databaseId: "d", timeline: 7 });
  sidecar.close();
  const record = sidecarPath(copy);
  // Pages go to the file before the commit, for the cache has no room; then it is killed.
  elsewhere(
    record,
    [
      "PRAGMA cache_size=1",
      "BEGIN",
      "UPDATE state SET value='8' WHERE key='timeline'",
      "CREATE TABLE filler(x)",
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 200) INSERT INTO filler SELECT randomblob(3000) FROM n",
    ],
    { killed: true },
  );
  const names = ["", "-journal"].map((suffix) => fs.readFileSync(record + suffix));
  const alone = `${record}-alone`;
  fs.copyFileSync(record, alone);
  const [half] = elsewhere(alone, ["SELECT value FROM state WHERE key='timeline'"]);
  assert.equal(half?.rows?.[0]?.["value"], "8", "without its journal it would be seen");
  assert.equal(new RecordReader(driver, copy).read()?.state.timeline, 7);
  for (const [i, suffix] of ["", "-journal"].entries()) {
    assert.ok(fs.readFileSync(record + suffix).equals(names[i] as Buffer));
  }
});

test("what is no record is none", (t) => {
  const copy = path.join(fs.realpathSync(scratch(t)), "app.db");
  fs.writeFileSync(sidecarPath(copy), "no database");
  assert.equal(new RecordReader(driver, copy).read(), null);
});
