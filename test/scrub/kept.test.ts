/**
 * The sums are there, and right, whatever is done to the copies; assertAtRest() makes every one anew
 * after each life. Where the file may not be what they speak of, there are none.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { judge, type Verdict } from "../../src/lineage/judge.ts";
import { checksumOf, Total } from "../../src/lineage/sums.ts";
import { restore } from "../../src/restore.ts";
import { scrub } from "../../src/scrub.ts";
import { runSql } from "../support/files.ts";
import { flip, rot } from "../support/rot.ts";
import { Scene } from "../support/scene.ts";
import { crc, foldedOf, hasSums, wrongSums } from "../support/sums.ts";

/** All copies have sums, and one total. */
function assertKept({ copies }: Scene): void {
  for (const copy of copies) assert.ok(hasSums(copy), copy);
  const totals = new Set(copies.map((copy) => foldedOf(copy)?.sums?.total));
  assert.equal(totals.size, 1);
  assert.ok(![...totals].includes(null), "the total is known");
}

for (const durability of ["commit", "barrier"] as const) {
  test(`${durability}: folded ahead or at once, grown, shrunk, by two connections`, async (t) => {
    const scene = Scene.make(t, { replicas: 2 });
    scene.life(() => {});
    assertKept(scene);
    scene.life(
      (db) => {
        const second = loadDriver("node:sqlite").open(scene.primary, { timeout: 5000 });
        for (let i = 0; i < 60; i++) {
          db.put(3, 9000);
          second.exec(
            "CREATE TABLE IF NOT EXISTS other(x); INSERT INTO other VALUES(randomblob(2000))",
          );
        }
        second.close();
        db.native.exec("SELECT 1");
      },
      { durability, checkpointBytes: 300_000 },
    );
    assertKept(scene);
    scene.life((db) => {
      db.native.exec("DROP TABLE other");
      db.native.exec("VACUUM");
      db.put(1);
    });
    assertKept(scene);
    scene.life((db) => db.put(200, 3000), { durability });
    assertKept(scene);
  });
}

test("a checkpoint is folded ahead: most of it is summed ahead, too", (t) => {
  const scene = Scene.make(t);
  const db = scene.open({ checkpointBytes: 1 << 20 });
  for (let i = 0; i < 400; i++) db.put(1, 9000);
  assert.ok(db.happened.includes("checkpoint"));
  db.close();
  assertKept(scene);
});

test("a start after a crash keeps them, but for the total, which the next scrub makes anew", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(5));
  const db = scene.open();
  db.put(20, 3000);
  const image = scene.crashImage();
  db.close();
  image.life((each) => each.put(1));
  assertKept(image); // it was in no fold
  await scrub(image.primary, image.replicas);
  assertKept(image);
});

test("a replica that is brought up to date, copied anew, or becomes the primary", async (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  scene.life((db) => db.put(50, 2000));
  for (let i = 0; i < 2; i++) scene.life((db) => db.put(40, 3000), { replicas: [1] });
  scene.life(() => {}); // pages that differ
  assertKept(scene);
  for (const suffix of ["", "-lockstep"]) fs.rmSync(scene.replica + suffix);
  scene.life((db) => db.put(1)); // copied, beside sums of an earlier life
  assertKept(scene);
  fs.rmSync(scene.primary);
  scene.life((db) => db.put(1), { restoreMissing: true });
  assertKept(scene);
});

test("a restored database has none of what stood there before; a scrub makes them", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(50, 2000));
  const { setAside } = await restore(scene.replica, scene.primary, { force: true });
  assert.ok(!fs.existsSync(`${scene.primary}-lockstep-sums`));
  assert.deepEqual(wrongSums(setAside as string), []);
  assert.ok(hasSums(setAside as string));
  const report = await scrub(scene.primary, [scene.replica]);
  assert.deepEqual(
    report.copies.map(({ sums }) => sums),
    ["made", "held"],
  );
  assertKept(scene);
});

test("what another program wrote is not what they speak of", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(50, 2000));
  for (const copy of scene.copies) runSql(copy, "CREATE TABLE foreign_one(x)");
  scene.life(() => {}); // equal, page by page
  for (const copy of scene.copies) assert.equal(foldedOf(copy)?.sums, null, copy);
  await scrub(scene.primary, scene.replicas);
  assertKept(scene);
});

test("sums that cannot be written are given up; nothing else is", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(5));
  for (const copy of scene.copies) {
    fs.rmSync(`${copy}-lockstep-sums`);
    fs.mkdirSync(`${copy}-lockstep-sums`);
  }
  const db = scene.life((each) => each.put(5));
  assert.deepEqual(db.happened, ["checkpoint"]);
  for (const copy of scene.copies) {
    assert.equal(foldedOf(copy)?.sums, null);
    fs.rmdirSync(`${copy}-lockstep-sums`);
  }
  await scrub(scene.primary, scene.replicas);
  assertKept(scene);
});

test("canary: the oracle notices a page, an entry, a total", async (t) => {
  const scene = Scene.make(t);
  scene.life((db) => db.put(5));
  rot(scene.primary, 2, 4096);
  assert.match(wrongSums(scene.primary).join(), /^page 2: \d+, not \d+$/);
  flip(`${scene.replica}-lockstep-sums`, { at: 16 + 4, bit: 1 });
  assert.match(wrongSums(scene.replica).join(), /^page 2: \d+, not \d+,the total$/);
});

describe("checksums", () => {
  test("are CRC-32, begun with the page's number", () => {
    const page = Buffer.alloc(512, "page");
    assert.equal(checksumOf(0, Buffer.from("123456789")), 0xcbf43926);
    for (const n of [1, 2, 77777]) assert.equal(checksumOf(n, page), crc(page, n));
    assert.notEqual(checksumOf(1, page), checksumOf(2, page));
  });

  test("their total does not depend on an order, and forgets what is removed", () => {
    const [one, other] = [new Total(), new Total()];
    for (let page = 1; page <= 100; page++) one.add(page, page * 7919);
    for (let page = 100; page >= 1; page--) other.add(page, page * 7919);
    other.add(101, 5);
    assert.notEqual(String(one), String(other));
    other.remove(101, 5);
    assert.equal(String(one), String(other));
    const rest = new Total(String(one));
    const change = new Total();
    change.remove(3, 3 * 7919);
    change.add(3, 1);
    rest.join(String(change));
    one.remove(3, 3 * 7919);
    one.add(3, 1);
    assert.equal(String(rest), String(one));
  });
});

describe("the verdict", () => {
  const rows: [what: string, pages: number[], entries: number[], verdict: Partial<Verdict>][] = [
    ["all as they should be", [5, 5], [5, 5], { is: "sound", entry: 5 }],
    ["no sums, equal", [5, 5], [0, 0], { is: "sound", entry: 5 }],
    ["no sums, different", [5, 6], [0, 0], { is: "different" }],
    ["one rotten", [5, 6], [6, 6], { is: "rotten", entry: 6, rotten: [0], from: 1 }],
    ["one rotten, the other's sums tell", [5, 6], [0, 6], { is: "rotten", rotten: [0], from: 1 }],
    ["one rotten, its own sums tell", [5, 6], [6, 0], { is: "rotten", rotten: [0], from: 1 }],
    ["an entry has rotted", [5, 5], [5, 7], { is: "sound", entry: 5 }],
    [
      "a page and the other's entry",
      [6, 5],
      [5, 7],
      { is: "rotten", entry: 5, rotten: [0], from: 1 },
    ],
    ["both rotten", [6, 7], [5, 5], { is: "lost", entry: 5 }],
    ["both, in the same way", [6, 6], [5, 5], { is: "lost", entry: 5 }],
    ["each is as its own sums say", [6, 7], [6, 7], { is: "different" }],
    ["two of three", [6, 5, 7], [5, 5, 5], { is: "rotten", rotten: [0, 2], from: 1 }],
  ];
  for (const [what, pages, entries, verdict] of rows) {
    test(what, () => {
      const found = judge(pages, entries, new Set(pages).size === 1);
      for (const [key, value] of Object.entries(verdict)) {
        assert.deepEqual(found[key as keyof Verdict], value);
      }
    });
  }

  test("pages of one checksum that differ all the same are not healed", () => {
    assert.equal(judge([5, 5], [5, 5], false).is, "different");
  });
});
