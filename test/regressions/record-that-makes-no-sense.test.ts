/**
 * A record that can be read and makes no sense, as a byte that rotted leaves it, ended the start with
 * a TypeError, told as the disk's; and so was one that is damaged where only the close writes to it.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { runSql } from "../support/files.ts";
import { Scene } from "../support/scene.ts";

const RECORDS = {
  "a field is missing": "DELETE FROM state WHERE key = 'folded'",
  "a field has another name": "UPDATE state SET key = 'goldee' WHERE key = 'folded'",
  "a number is none": `UPDATE state SET value = '"x"' WHERE key = 'timeline'`,
  "a flag is none": "UPDATE state SET value = '1' WHERE key = 'folding'",
  "half a position": `UPDATE state SET value = '{"position":{"frame":1}}' WHERE key = 'folded'`,
  "a role that nobody has": `UPDATE state SET value = '"prymary"' WHERE key = 'role'`,
  "no JSON": "UPDATE state SET value = '{' WHERE key = 'generation'",
  "a position that is no number": "UPDATE history SET sum1 = 'x'",
};

for (const side of ["primary", "replica"] as const) {
  test(`beside the ${side}: the start is refused with SIDECAR, whatever it is`, (t) => {
    const scene = Scene.make(t);
    scene.life((db) => db.put(3));
    const record = `${scene[side]}-lockstep`;
    const sound = fs.readFileSync(record);
    for (const [name, sql] of Object.entries(RECORDS)) {
      fs.writeFileSync(record, sound);
      runSql(record, sql);
      const driver = loadDriver("node:sqlite");
      const error = { code: "ERR_LOCKSTEP_SIDECAR", copy: scene[side] };
      assert.throws(() => readSidecar(driver, scene[side]), error, name);
    }
    scene.refuses("SIDECAR");
  });
}

test("a record whose pages are damaged is told as that, also where it is written first", (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(3));
  const record = `${scene.primary}-lockstep`;
  const bytes = fs.readFileSync(record);
  const event = bytes.lastIndexOf("named"); // in a page that is only written to
  bytes.fill(0xff, event & ~4095, (event & ~4095) + 64);
  fs.writeFileSync(record, bytes);
  const db = scene.open();
  assert.throws(() => db.close(), { code: "ERR_LOCKSTEP_SIDECAR", copy: scene.primary });
});
