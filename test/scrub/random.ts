/**
 * Bits that flip at random, a round of them at a time: all must be found, attributed and healed, and the
 * copies be, byte for byte, as they were.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "../../src/index.ts";
import { scrub } from "../../src/scrub.ts";
import type { Random } from "../crash/random.ts";
import { rot } from "../support/rot.ts";

const PAGE = 4096;

/** A primary and its replica, with tables, indexes, overflow and free pages, closed. */
export class Subject {
  readonly copies: readonly [string, string];
  readonly #pages: number;
  #sound: readonly string[];

  constructor(directory: string, rows: number) {
    const [main, replica] = ["main", "replica"].map((disk) => path.join(directory, disk)) as [
      string,
      string,
    ];
    for (const disk of [main, replica]) fs.mkdirSync(disk);
    this.copies = [path.join(main, "app.db"), path.join(replica, "app.db")];
    const db = new DatabaseSync(this.copies[0], {
      replicas: [this.copies[1]],
      checkpointBytes: 1 << 20,
    });
    db.exec(
      "CREATE TABLE entry(n INTEGER PRIMARY KEY, what TEXT, data BLOB); CREATE INDEX what ON entry(what)",
    );
    const insert = db.prepare(`
      WITH RECURSIVE i(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM i WHERE n % 500 > 0)
      INSERT INTO entry SELECT n, 'entry number ' || n, randomblob(n * 977 % 3000) FROM i`);
    for (let n = 1; n <= rows; n += 500) insert.run(n);
    db.exec("DELETE FROM entry WHERE n % 5 = 0");
    db.close();
    this.#sound = this.copies.map(digest);
    this.#pages = fs.statSync(this.copies[0]).size / PAGE;
  }

  /** Flips a bit in each of `count` pages from `first` on, in either copy; which page in which. */
  #flip(random: Random, count: number, first: number): Map<number, string> {
    const flipped = new Map<number, string>();
    while (flipped.size < count) {
      const page = random.between(first, this.#pages);
      if (flipped.has(page)) continue;
      const copy = random.pick(this.copies);
      rot(copy, page, PAGE, random.below(PAGE), random.below(8));
      flipped.set(page, copy);
    }
    return flipped;
  }

  /** The same while they are in use; not of page 1, where each commit may write. */
  async liveRound(random: Random, count: number): Promise<void> {
    const [primary, replica] = this.copies;
    const rest = (copy: string): Buffer => fs.readFileSync(copy).subarray(PAGE);
    const sound = rest(primary);
    const flipped = this.#flip(random, count, 2);
    const db = new DatabaseSync(primary, { replicas: [replica], scrubBytesPerSecond: 1e9 });
    const left = new Map(flipped);
    const alive = setInterval(() => {}, 1000);
    await new Promise<void>((resolve) => {
      db.replication?.on("healed", ({ page, copy, healedFrom }) => {
        assert.equal(left.get(page), copy);
        assert.equal(healedFrom, copy === primary ? replica : primary);
        left.delete(page);
        if (left.size === 0) resolve();
      });
    });
    clearInterval(alive);
    assert.deepEqual(db.replication?.status.rot, []);
    db.close();
    for (const copy of this.copies) assert.ok(rest(copy).equals(sound), "as it was");
    assert.equal(digest(primary), digest(replica));
    this.#sound = this.copies.map(digest);
  }

  /** Flips a bit in each of `count` pages, in either copy, and has them healed. */
  async round(random: Random, count: number): Promise<void> {
    const flipped = this.#flip(random, count, 1);
    const [primary, replica] = this.copies;
    const report = await scrub(primary, [replica]);
    const expected = [...flipped]
      .sort(([a], [b]) => a - b)
      .map(([page, copy]) => ({
        page,
        rotten: [copy],
        healedFrom: copy === primary ? replica : primary,
      }));
    const found = report.rotten.map(({ page, rotten, healedFrom }) => ({
      page,
      rotten,
      healedFrom,
    }));
    assert.deepEqual(found, expected);
    assert.deepEqual(
      report.rotten.filter(({ owner }) => owner === null),
      [],
      "all are attributed",
    );
    assert.equal(report.sound, true);
    assert.deepEqual(this.copies.map(digest), this.#sound, "byte for byte as they were");
  }
}

function digest(file: string): string {
  return createHash("sha256").update(fs.readFileSync(file)).digest("hex");
}
