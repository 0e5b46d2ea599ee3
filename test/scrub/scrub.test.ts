/** Rot in any kind of page, in either copy or in both, and in the checksums: found, attributed, healed. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { rotPath } from "../../src/lineage/rot.ts";
import { type ScrubReport, scrub } from "../../src/scrub.ts";
import { digestOf, readAtRest } from "../support/files.ts";
import { flip, rot } from "../support/rot.ts";
import { Scene } from "../support/scene.ts";
import { foldedOf, hasSums, wrongSums } from "../support/sums.ts";

const PAGE = 1024;

/** A database with pages of every kind, closed; its sums are kept. */
function everyKind(t: TestContext, replicas = 1): Scene {
  const scene = Scene.make(t, { replicas });
  const made = new DatabaseSync(scene.primary);
  made.exec(`PRAGMA page_size=${PAGE}; PRAGMA auto_vacuum=INCREMENTAL`);
  made.exec(`
    CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB);
    CREATE TABLE word(w TEXT PRIMARY KEY, at INTEGER);
    CREATE TABLE gone(data BLOB);
    WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 3000)
      INSERT INTO word SELECT printf('word number %d', n), n FROM i;
    INSERT INTO gone SELECT randomblob(600) FROM word LIMIT 400;
    CREATE INDEX byPlace ON word(at);`);
  made.close();
  scene.life((db) => {
    db.put(5, 5000); // with overflow pages
    db.native.exec("DELETE FROM gone");
  });
  for (const copy of scene.copies) assert.ok(hasSums(copy), "the sums are kept");
  return scene;
}

interface Kind {
  readonly what: string;
  readonly owner: string | null;
  readonly page: number;
}

/** One page of each kind, as SQLite says. */
function kindsOf(file: string): Kind[] {
  return readAtRest(file, (db) => {
    const of = (where: string): number =>
      Number(
        db.prepare(`SELECT pageno FROM dbstat WHERE ${where} ORDER BY pageno DESC`).get()?.[
          "pageno"
        ],
      );
    const used = new Set(
      db
        .prepare("SELECT pageno FROM dbstat")
        .all()
        .map((row) => Number(row["pageno"])),
    );
    const pages = Number(db.prepare("PRAGMA page_count").get()?.["page_count"]);
    const free = Array.from({ length: pages }, (_, i) => i + 1).filter(
      (page) => page > 2 && !used.has(page),
    );
    return [
      { what: "the first page", owner: "sqlite_schema", page: 1 },
      { what: "a pointer map", owner: "(pointer map)", page: 2 },
      { what: "a table's leaf", owner: "word", page: of("name='word' AND pagetype='leaf'") },
      {
        what: "a table's interior page",
        owner: "word",
        page: of("name='word' AND pagetype='internal'"),
      },
      { what: "an index", owner: "byPlace", page: of("name='byPlace' AND pagetype='leaf'") },
      { what: "an overflow page", owner: "t", page: of("name='t' AND pagetype='overflow'") },
      {
        what: "the free list",
        owner: "(free list)",
        page: free[Math.floor(free.length / 2)] as number,
      },
    ];
  });
}

function copiesOf({ primary, replicas }: Scene): Promise<ScrubReport> {
  return scrub(primary, replicas);
}

const images = (scene: Scene): string[] => scene.copies.map(digestOf);

for (const side of ["primary", "replica"] as const) {
  test(`a bit of each kind of page in the ${side}`, async (t) => {
    const scene = everyKind(t);
    const sound = images(scene);
    const bad = scene[side];
    const good = side === "primary" ? scene.replica : scene.primary;
    for (const { what, owner, page } of kindsOf(scene.primary)) {
      for (const at of page === 1 ? [0, 17, 19, 100] : [PAGE - 1]) {
        rot(bad, page, PAGE, at, at % 8);
        const was = fs.readFileSync(bad).subarray((page - 1) * PAGE, page * PAGE);
        const report = await copiesOf(scene);
        assert.deepEqual(report.rotten, [{ page, owner, rotten: [bad], healedFrom: good }], what);
        assert.equal(report.sound, true);
        assert.deepEqual(images(scene), sound, `${what}, byte ${at}: as it was, byte for byte`);
        const kept = fs.readFileSync(rotPath(bad), "utf8").trim().split("\n").at(-1) as string;
        const { page: number, bytes } = JSON.parse(kept);
        assert.deepEqual([number, Buffer.from(bytes, "base64")], [page, was], "kept aside");
      }
    }
    assert.ok(scene.events(bad).includes("healed"));
    fs.rmSync(rotPath(bad));
    scene.life((db) => db.put(1, 100));
  });
}

test("nothing is rotten: nothing is written", async (t) => {
  const scene = everyKind(t);
  const before = [...images(scene), ...scene.copies.map((copy) => foldedOf(copy))];
  const report = await copiesOf(scene);
  assert.deepEqual([report.sound, report.rotten, report.different], [true, [], []]);
  assert.deepEqual(
    report.copies.map(({ sums }) => sums),
    ["held", "held"],
  );
  assert.deepEqual([...images(scene), ...scene.copies.map((copy) => foldedOf(copy))], before);
  assert.ok(scene.copies.every((copy) => !fs.existsSync(rotPath(copy))));
});

test("different pages of several copies, among them many: each is healed from one that has it", async (t) => {
  const scene = everyKind(t, 2);
  const sound = images(scene);
  const [a, b, c] = scene.copies as [string, string, string];
  for (const page of [3, 20, 21, 22, 50]) rot(a, page, PAGE);
  for (const page of [4, 20, 60]) rot(b, page, PAGE, 5);
  for (const page of [1, 7]) rot(c, page, PAGE, 9);
  const report = await copiesOf(scene);
  assert.deepEqual(
    report.rotten.map(({ page, rotten }) => [page, rotten]),
    [
      [1, [c]],
      [3, [a]],
      [4, [b]],
      [7, [c]],
      [20, [a, b]],
      [21, [a]],
      [22, [a]],
      [50, [a]],
      [60, [b]],
    ],
  );
  assert.equal(report.rotten[4]?.healedFrom, c);
  assert.deepEqual(
    report.copies.map(({ healed }) => healed),
    [5, 3, 2],
  );
  assert.deepEqual(images(scene), sound);
});

test("rotten in both: it is said, and nothing is touched; what can be healed is", async (t) => {
  const scene = everyKind(t);
  rot(scene.primary, 30, PAGE, 1);
  rot(scene.replica, 30, PAGE, 2);
  const rotten = images(scene);
  rot(scene.replica, 31, PAGE, 3);
  for (let again = 0; again < 2; again++) {
    const report = await copiesOf(scene);
    const { page, rotten: where, healedFrom } = report.rotten[0] as ScrubReport["rotten"][number];
    assert.deepEqual([page, where, healedFrom], [30, scene.copies, null]);
    assert.deepEqual([report.sound, report.lost, report.rotten.length], [false, 1, 2 - again]);
    assert.deepEqual(images(scene), rotten);
  }
  // The same rot in both is rot all the same.
  rot(scene.primary, 30, PAGE, 1);
  rot(scene.primary, 30, PAGE, 2);
  assert.equal((await copiesOf(scene)).lost, 1);
});

test("the sums have rotted: they are not believed, and made anew", async (t) => {
  const scene = everyKind(t);
  const sound = images(scene);
  const sums = fs.readFileSync(`${scene.replica}-lockstep-sums`);
  const damage: [string, (file: string) => void][] = [
    ["an entry", (file) => flip(file, { at: 16 + 4 * 20, bit: 3 })],
    ["the header", (file) => flip(file, { at: 3, bit: 3 })],
    ["the page size", (file) => flip(file, { at: 14, bit: 2 }, { at: 14, bit: 3 })],
    ["cut short", (file) => fs.truncateSync(file, 100)],
    ["gone", (file) => fs.rmSync(file)],
  ];
  for (const [what, spoil] of damage) {
    spoil(`${scene.replica}-lockstep-sums`);
    rot(scene.replica, 25, PAGE); // the primary's sums tell
    const report = await copiesOf(scene);
    assert.deepEqual(
      report.copies.map((copy) => copy.sums),
      ["held", "rebuilt"],
      what,
    );
    assert.deepEqual(
      report.rotten.map(({ page, rotten }) => [page, rotten]),
      [[25, [scene.replica]]],
      what,
    );
    assert.deepEqual(fs.readFileSync(`${scene.replica}-lockstep-sums`), sums, what);
    assert.deepEqual(images(scene), sound);
  }
});

test("without sums the copies are compared, and a difference is called one", async (t) => {
  const scene = everyKind(t);
  const sound = images(scene);
  for (const copy of scene.copies) fs.rmSync(`${copy}-lockstep-sums`);
  rot(scene.primary, 40, PAGE);
  const first = await copiesOf(scene);
  assert.deepEqual(
    [first.sound, first.differing, first.different.map(({ page }) => page)],
    [false, 1, [40]],
  );
  assert.notDeepEqual(images(scene), sound, "nothing was changed");
  rot(scene.primary, 41, PAGE); // of this one the sums know by now
  const second = await copiesOf(scene);
  assert.deepEqual(
    second.different.map(({ page }) => page),
    [40],
  );
  assert.deepEqual(
    second.rotten.map(({ page }) => page),
    [41],
  );
  rot(scene.primary, 40, PAGE); // as it was
  assert.equal((await copiesOf(scene)).sound, true);
  assert.deepEqual(images(scene), sound);
  assert.ok(scene.copies.every((copy) => hasSums(copy) && wrongSums(copy).length === 0));
});

test("logs that a crash left are folded first; what rotted beneath them is healed", async (t) => {
  const scene = everyKind(t);
  const db = scene.open();
  db.put(3, 2000);
  const image = scene.crashImage();
  db.close();
  rot(image.primary, 30, PAGE);
  const report = await copiesOf(image);
  assert.deepEqual(
    report.rotten.map(({ page, rotten }) => [page, rotten]),
    [[30, [image.primary]]],
  );
  fs.rmSync(rotPath(image.primary));
  image.assertAtRest();
});

test("a replica that is brought up to date does not get what rotted in the primary", async (t) => {
  const scene = everyKind(t, 2);
  const [, one, two] = scene.copies as [string, string, string];
  const good = fs.readFileSync(two).subarray(29 * PAGE, 30 * PAGE);
  for (let i = 0; i < 2; i++) scene.life((db) => db.put(3, 3000), { replicas: [1] });
  for (const copy of [scene.primary, one]) rot(copy, 30, PAGE, 77);
  const db = scene.open();
  assert.ok(db.phases().includes("delta"));
  db.abandon();
  assert.deepEqual(fs.readFileSync(two).subarray(29 * PAGE, 30 * PAGE), good);
  const report = await copiesOf(scene);
  const [{ page, rotten, healedFrom }] = report.rotten as [ScrubReport["rotten"][number]];
  assert.deepEqual([page, rotten, healedFrom], [30, [scene.primary, one], two]);
  for (const copy of [scene.primary, one]) fs.rmSync(rotPath(copy));
  scene.assertAtRest();
});

test("copies in use are refused", async (t) => {
  const scene = everyKind(t);
  const db = scene.open();
  await assert.rejects(copiesOf(scene), { code: "ERR_LOCKSTEP_LOCKED" });
  db.close();
  await assert.rejects(scrub(scene.replica, [scene.primary]), { code: "ERR_LOCKSTEP_BAD_OPTION" });
  await assert.rejects(scrub(scene.primary, [`${scene.replica}2`]), {
    code: "ERR_LOCKSTEP_NOT_A_DATABASE",
  });
});

test("what another program writes while the pages are read is not rot", async (t) => {
  const scene = everyKind(t);
  rot(scene.replica, 30, PAGE);
  const write = (step: string): void => {
    if (step !== "judged") return;
    const other = new DatabaseSync(scene.primary);
    other.exec("UPDATE word SET at = at + 1");
    other.close();
  };
  const replica = digestOf(scene.replica);
  await assert.rejects(scrub(scene.primary, scene.replicas, { onStep: write }), {
    code: "ERR_LOCKSTEP_BUSY",
  });
  assert.equal(digestOf(scene.replica), replica, "nothing was healed");
});
