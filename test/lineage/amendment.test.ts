/** What amends a record: what is believed of it, and what becomes of it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { amendmentPath } from "../../src/lineage/amendment.ts";
import type { Position } from "../../src/lineage/position.ts";
import { Sidecar, sidecarPath } from "../../src/lineage/sidecar.ts";
import { readSidecar, type SidecarSnapshot } from "../../src/lineage/unlocked.ts";
import { scratch } from "../scratch.ts";
import { at } from "../support/copies.ts";
import { readAtRest, runSql } from "../support/files.ts";

const driver = loadDriver("node:sqlite");
const SLOT = 4096;

const plain = (rows: readonly Position[] = []): Position[] => rows.map((row) => ({ ...row }));

/** A copy's record, open. */
function opened(t: TestContext): Sidecar {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-test-"));
  const sidecar = Sidecar.open(driver, path.join(directory, "a.db"), "primary");
  t.after(() => {
    sidecar.close();
    fs.rmSync(directory, { recursive: true });
  });
  sidecar.update({ databaseId: "db" }, { history: [at(1, 1)] });
  return sidecar;
}

/** Where what lies on the disk now is seen again, as after a power cut. */
function cut({ copy }: Sidecar): string {
  const directory = fs.mkdtempSync(path.join(path.dirname(copy), "cut-"));
  const names = [sidecarPath, amendmentPath, (name: string) => `${sidecarPath(name)}-journal`];
  const there = path.join(directory, path.basename(copy));
  for (const name of names) {
    if (fs.existsSync(name(copy))) fs.copyFileSync(name(copy), name(there));
  }
  return there;
}

/** What is read of it without its lock, and what whoever locks it has then. */
function found(copy: string): SidecarSnapshot {
  const seen = readSidecar(driver, copy);
  assert.ok(seen);
  const sidecar = Sidecar.open(driver, copy, "primary");
  assert.deepEqual(sidecar.state, seen.state);
  assert.deepEqual(plain(sidecar.history), plain(seen.history));
  sidecar.close();
  const after = readSidecar(driver, copy);
  assert.deepEqual(after?.state, seen.state);
  assert.deepEqual(plain(after?.history), plain(seen.history));
  return seen;
}

/** Changes the bytes of what amends the record of a copy. */
function spoil(copy: string, change: (bytes: Buffer) => void): string {
  const bytes = fs.readFileSync(amendmentPath(copy));
  change(bytes);
  fs.writeFileSync(amendmentPath(copy), bytes);
  return copy;
}

test("what was amended last is there again, and the history in order", (t) => {
  const sidecar = opened(t);
  for (let n = 2; n < 7; n++) {
    sidecar.amend({ timeline: n }, [at(1, n)]);
    assert.equal(sidecar.state.timeline, n);
    const { state, history } = found(cut(sidecar));
    assert.deepEqual(state, sidecar.state);
    assert.deepEqual(plain(history), plain(sidecar.history));
    assert.equal(history.length, n);
  }
});

test("it takes one sync, and the record itself is left as it is", (t) => {
  const sidecar = opened(t);
  sidecar.amend({ timeline: 2 });
  const before = fs.readFileSync(sidecarPath(sidecar.copy));
  const { ino } = fs.statSync(amendmentPath(sidecar.copy));
  for (let n = 3; n < 9; n++) sidecar.amend({ timeline: n });
  assert.ok(fs.readFileSync(sidecarPath(sidecar.copy)).equals(before));
  const { size, ino: now } = fs.statSync(amendmentPath(sidecar.copy));
  assert.deepEqual([size, now], [2 * SLOT, ino]);
});

test("the next transaction of the record holds all of it, and what amended it before counts no more", (t) => {
  const sidecar = opened(t);
  sidecar.amend({ timeline: 2, folding: true }, [at(1, 2)]);
  const old = fs.readFileSync(amendmentPath(sidecar.copy));
  sidecar.update({ timeline: 3 }, { history: [at(1, 3)] });
  fs.writeFileSync(amendmentPath(sidecar.copy), old);
  const { state, history } = found(cut(sidecar));
  assert.deepEqual([state.timeline, state.folding], [3, true]);
  assert.deepEqual(plain(history), [at(1, 1), at(1, 2), at(1, 3)]);
});

/** The path of a copy whose record was closed, at timeline 2. */
function closed(t: TestContext): string {
  const copy = path.join(scratch(t), "a.db");
  const first = Sidecar.open(driver, copy, "primary");
  first.update({ databaseId: "db", timeline: 2 });
  first.close();
  return copy;
}

test("whoever opens it puts it into the record before anything else amends that", (t) => {
  const first = opened(t);
  first.amend({ timeline: 2 }, [at(1, 2)]);
  const there = cut(first);
  const second = Sidecar.open(driver, there, "primary");
  const left = fs.readFileSync(amendmentPath(there));
  second.amend({ timeline: 3 }, [at(1, 3)]);
  assert.deepEqual(plain(found(cut(second)).history), [at(1, 1), at(1, 2), at(1, 3)]);
  // As if the new one had never reached the disk: what is left of the old one is past.
  fs.writeFileSync(amendmentPath(there), left);
  const { state, history } = found(cut(second));
  assert.equal(state.timeline, 2);
  assert.deepEqual(plain(history), [at(1, 1), at(1, 2)]);
  second.close();
});

test("a record that is put back from before it was opened is amended by nothing", (t) => {
  const copy = closed(t);
  const before = fs.readFileSync(sidecarPath(copy));
  const second = Sidecar.open(driver, copy, "primary");
  second.amend({ timeline: 3, folding: true });
  const there = cut(second);
  assert.equal(found(cut(second)).state.timeline, 3);
  fs.writeFileSync(sidecarPath(there), before);
  const { state } = found(there);
  assert.deepEqual([state.timeline, state.folding], [2, false]);
  second.close();
});

test("a record of the format before, which nothing amends, is read, and written in this one", (t) => {
  const copy = closed(t);
  const { state } = readSidecar(driver, copy) as SidecarSnapshot;
  runSql(sidecarPath(copy), "UPDATE state SET value='1' WHERE key='format'");
  runSql(sidecarPath(copy), "DELETE FROM state WHERE key='version'");
  assert.deepEqual(found(copy).state, state);
  const format = readAtRest(sidecarPath(copy), (db) =>
    db
      .prepare("SELECT value FROM state WHERE key='format'")
      .all()
      .map(({ value }) => value),
  );
  assert.deepEqual(format, ["2"]);
});

test("of a slot that is torn the other one counts", (t) => {
  const sidecar = opened(t);
  for (let n = 2; n < 6; n++) sidecar.amend({ timeline: n });
  for (const offset of [0, 3, 7, 8, 60]) {
    const there = cut(sidecar);
    const bytes = fs.readFileSync(amendmentPath(there));
    const newest = bytes.subarray(0, SLOT).includes('"timeline":5') ? 0 : SLOT;
    spoil(there, (all) => all.writeUInt8((all[newest + offset] as number) ^ 1, newest + offset));
    assert.equal(found(there).state.timeline, 4, `byte ${offset}`);
  }
  const there = cut(sidecar);
  assert.equal(found(spoil(there, (bytes) => bytes.fill(0))).state.timeline, 1, "both are");
});

test("what belongs to another record, is of another version, or is cut short is not believed", (t) => {
  const [one, two] = [opened(t), opened(t)];
  one.amend({ timeline: 8 });
  two.amend({ timeline: 9 });
  const there = cut(one);
  fs.copyFileSync(amendmentPath(two.copy), amendmentPath(there));
  assert.equal(found(there).state.timeline, 1);
  for (const length of [0, 4, 8, 100]) {
    const short = cut(one);
    fs.truncateSync(amendmentPath(short), length);
    assert.equal(found(short).state.timeline, 1, `${length} bytes`);
  }
});

test("what does not fit goes into the record", (t) => {
  const sidecar = opened(t);
  sidecar.amend({ timeline: 2 });
  const before = fs.readFileSync(amendmentPath(sidecar.copy));
  sidecar.amend({ apart: ["x".repeat(SLOT)] }, [at(1, 2)]);
  assert.ok(fs.readFileSync(amendmentPath(sidecar.copy)).equals(before));
  const { state, history } = found(cut(sidecar));
  assert.deepEqual([state.timeline, state.apart[0]?.length, history.length], [2, SLOT, 2]);
  // The history that a slot holds grows with each; in the end the record takes it over.
  sidecar.update({ apart: [] });
  for (let n = 3; n < 100; n++) {
    sidecar.amend({ timeline: n }, [at(1, n)]);
    const now = readSidecar(driver, sidecar.copy);
    assert.deepEqual([now?.state.timeline, now?.history.length], [n, n]);
  }
});

test("one that was removed meanwhile is made anew", (t) => {
  const sidecar = opened(t);
  sidecar.amend({ timeline: 2 }, [at(1, 2)]);
  fs.rmSync(amendmentPath(sidecar.copy));
  sidecar.amend({ folding: true });
  const { state, history } = found(cut(sidecar));
  assert.deepEqual([state.timeline, state.folding, history.length], [2, true, 2]);
});

test("after a transaction of the record that failed nothing amends it until one succeeds", (t) => {
  const sidecar = opened(t);
  const wrong = { ...at(1, 2), frame: null } as unknown as Position;
  assert.throws(() => sidecar.update({ timeline: 3 }, { history: [wrong] }), /NOT NULL/);
  sidecar.amend({ timeline: 4 });
  assert.ok(!fs.existsSync(amendmentPath(sidecar.copy)));
  sidecar.amend({ timeline: 5 });
  assert.ok(fs.existsSync(amendmentPath(sidecar.copy)));
  assert.equal(found(cut(sidecar)).state.timeline, 5);
});

test("it is gone when the record is closed, and all of it in the record", (t) => {
  const copy = path.join(scratch(t), "a.db");
  const sidecar = Sidecar.open(driver, copy, "primary");
  sidecar.update({ databaseId: "db" });
  sidecar.amend({ timeline: 2 }, [at(1, 2)]);
  sidecar.close();
  assert.ok(!fs.existsSync(amendmentPath(copy)));
  const { state, history, owner } = readSidecar(driver, copy) as SidecarSnapshot;
  assert.deepEqual([state.timeline, history.length, owner], [2, 1, null]);
});
