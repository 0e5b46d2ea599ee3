/** The record beside a copy: its lock, its transactions, and what is done about one that is no good. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import type { Position } from "../../src/lineage/position.ts";
import { Sidecar, sidecarPath } from "../../src/lineage/sidecar.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { scratch } from "../scratch.ts";
import { at } from "../support/copies.ts";
import { DRIVERS } from "../support/drivers.ts";
import { runSql } from "../support/files.ts";

const node = loadDriver("node:sqlite");

/** node:sqlite's rows have no prototype. */
const plain = (rows: readonly object[] = []): object[] => rows.map((row) => ({ ...row }));

function copyIn(t: TestContext): string {
  return path.join(scratch(t), "a.db");
}

for (const name of DRIVERS) {
  const driver = loadDriver(name);

  test(`${name}: what was recorded is there again, in order`, (t) => {
    const copy = copyIn(t);
    const sidecar = Sidecar.open(driver, copy, "primary");
    const { copyId } = sidecar.state;
    assert.deepEqual(
      [sidecar.state.role, sidecar.state.timeline, sidecar.state.databaseId],
      ["primary", 1, null],
    );
    const positions = [at(1, 2), { ...at(1, 5), timeline: 3, sum1: 0xffffffff }, at(2, 1)];
    sidecar.update({ databaseId: "db", timeline: 3 }, { history: positions.slice(0, 1) });
    sidecar.update({}, { history: positions.slice(1), event: ["tested", "once"] });
    sidecar.close();

    const again = Sidecar.open(driver, copy, "primary");
    assert.deepEqual(plain(again.history), positions);
    assert.deepEqual(again.state, { ...again.state, databaseId: "db", timeline: 3, copyId });
    again.close();
    const seen = readSidecar(node, copy);
    assert.deepEqual(plain(seen?.history), positions);
    assert.deepEqual(
      seen?.events.map(({ what, detail }) => [what, detail]),
      [["tested", "once"]],
    );
    assert.equal(seen?.owner, null);
  });

  test(`${name}: it is locked while it is open, and says by whom`, (t) => {
    const copy = copyIn(t);
    const sidecar = Sidecar.open(driver, copy, "replica");
    sidecar.update({ databaseId: "db" });
    assert.throws(() => Sidecar.open(driver, copy, "replica"), {
      code: "ERR_LOCKSTEP_LOCKED",
      message: new RegExp(`process ${process.pid} on `),
    });
    sidecar.update({ timeline: 7 });
    sidecar.close();
    Sidecar.open(driver, copy, "replica").close();
  });

  test(`${name}: a file that is no database, or no record, is refused and left as it is`, (t) => {
    const copy = copyIn(t);
    for (const content of ["garbage", Buffer.alloc(5000, 7)]) {
      fs.writeFileSync(sidecarPath(copy), content);
      const error = {
        code: "ERR_LOCKSTEP_SIDECAR",
        copy,
        message: /move that file, and what amends it, away/,
      };
      assert.throws(() => Sidecar.open(driver, copy, "primary"), error);
      assert.ok(fs.readFileSync(sidecarPath(copy)).equals(Buffer.from(content)));
    }
  });

  test(`${name}: a newer format is refused, not rewritten`, (t) => {
    const copy = copyIn(t);
    const sidecar = Sidecar.open(driver, copy, "primary");
    sidecar.update({ databaseId: "db" });
    sidecar.close();
    runSql(sidecarPath(copy), "UPDATE state SET value='3' WHERE key='format'");
    const before = fs.readFileSync(sidecarPath(copy));
    const error = { code: "ERR_LOCKSTEP_SIDECAR", message: /format is 3, this Lockstep reads 2/ };
    assert.throws(() => Sidecar.open(driver, copy, "primary"), error);
    assert.ok(fs.readFileSync(sidecarPath(copy)).equals(before));
    assert.throws(() => readSidecar(node, copy), error);
  });
}

test("an empty file is a record that was never written", (t) => {
  const copy = copyIn(t);
  fs.writeFileSync(sidecarPath(copy), "");
  assert.equal(readSidecar(node, copy), null);
  const sidecar = Sidecar.open(node, copy, "primary");
  sidecar.update({ databaseId: "db" });
  sidecar.close();
  assert.equal(readSidecar(node, copy)?.state.databaseId, "db");
});

test("a record of a copy that never came to be is removed", (t) => {
  const copy = copyIn(t);
  Sidecar.open(node, copy, "primary").close();
  assert.ok(!fs.existsSync(sidecarPath(copy)));
  assert.equal(readSidecar(node, copy), null);
});

test("an update that fails changes nothing, and the next one works", (t) => {
  const copy = copyIn(t);
  const sidecar = Sidecar.open(node, copy, "primary");
  sidecar.update({ databaseId: "db", timeline: 2 }, { history: [at(1, 1)] });
  const wrong = { ...at(1, 2), frame: null } as unknown as Position;
  assert.throws(() => sidecar.update({ timeline: 3 }, { history: [wrong] }), /NOT NULL/);
  assert.equal(sidecar.state.timeline, 2);
  sidecar.update({}, { history: [at(1, 3)] });
  sidecar.close();
  const seen = readSidecar(node, copy);
  assert.equal(seen?.state.timeline, 2);
  assert.deepEqual(plain(seen?.history), [at(1, 1), at(1, 3)]);
});

test("the history and the events are kept within bounds, the newest of them", (t) => {
  const copy = copyIn(t);
  const sidecar = Sidecar.open(node, copy, "primary");
  sidecar.update({ databaseId: "db" });
  const many = Array.from({ length: 20_500 }, (_, i) => at(1, i));
  sidecar.update({}, { history: many });
  for (let i = 0; i < 3; i++) sidecar.update({}, { history: [at(2, i)], event: ["e", `${i}`] });
  sidecar.close();
  const { history = [], events = [] } = readSidecar(node, copy) ?? {};
  assert.equal(history.length, 20_000);
  assert.deepEqual(plain(history).at(-1), at(2, 2));
  assert.equal(events.length, 3);
});

test("an update that a dying process left half done is undone", (t) => {
  const copy = copyIn(t);
  const sidecar = Sidecar.open(node, copy, "primary");
  sidecar.update({ databaseId: "db" }, { history: [at(1, 1)] });
  sidecar.close();
  // A hot journal, as a kill in mid-commit leaves it: the pages are written, the end is not.
  const name = sidecarPath(copy);
  const db = new DatabaseSync(name);
  db.exec("PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN");
  db.exec("UPDATE state SET value='9' WHERE key='timeline'");
  for (let i = 0; i < 400; i++) {
    db.exec("INSERT INTO event(at,what,detail) VALUES('', 'spilled', hex(zeroblob(2000)))");
  }
  const dead = `${copy}2`;
  for (const suffix of ["", "-journal"]) fs.copyFileSync(name + suffix, sidecarPath(dead) + suffix);
  db.exec("ROLLBACK");
  db.close();
  const again = Sidecar.open(node, dead, "primary");
  assert.equal(again.state.timeline, 1);
  again.close();
});
