// Goal: verify of copies that are being written says "identical", and still sees damage; the writer
//   does not notice. The comparison itself is tested in ../verify.test.ts.
import assert from "node:assert/strict";
import fs from "node:fs";
import * as sqlite from "node:sqlite";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { verify } from "../../src/verify.ts";
import { lockstep, lockstepJson } from "./lockstep.ts";
import { Pair, plain } from "./pair.ts";
import { startWriter } from "./writer.ts";

/** The last page of the table `entry`, which the writer does not touch. */
function quietPage(file: string): number {
  const db = new sqlite.DatabaseSync(`${pathToFileURL(file).href}?immutable=1`, { readOnly: true });
  const row = db.prepare("SELECT max(pageno) AS page FROM dbstat WHERE name='entry'").get();
  db.close();
  return Number(row?.["page"]);
}

function damage(file: string, page: number): void {
  const fd = fs.openSync(file, "r+");
  fs.writeSync(fd, "damage", page * 4096 - 10);
  fs.closeSync(fd);
}

describe("at rest", () => {
  test("identical: 0", (t) => {
    const { primary, replica } = new Pair(t).replicate();
    const { status, json } = lockstepJson("verify", primary, replica);
    assert.equal(status, 0);
    assert.deepEqual(json, {
      identical: true,
      pages: json.pages,
      different: [],
      differing: 0,
      integrity: { a: "ok", b: "ok" },
      a: { path: primary, pageSize: 4096, pages: json.pages },
      b: { path: replica, pageSize: 4096, pages: json.pages },
    });
    assert.ok(json.pages > 3);
    assert.match(
      lockstep("verify", primary, replica).stdout,
      /^identical: \d+ pages of 4096 bytes$/m,
    );
  });

  test("different: 1, and which pages of which tables", (t) => {
    const { primary, replica } = new Pair(t).replicate();
    const page = quietPage(primary);
    damage(replica, page);
    const { status, json } = lockstepJson("verify", primary, replica);
    assert.equal(status, 1);
    assert.deepEqual(
      [json.identical, json.different, json.differing],
      [false, [{ page, owner: "entry" }], 1],
    );
    const { stdout } = lockstep("verify", primary, replica);
    assert.match(
      stdout,
      new RegExp(`^DIFFERENT: 1 of ${json.pages} pages\n  entry: page ${page}\n`),
    );
  });

  test("identical and damaged: 1", (t) => {
    const { primary, replica } = new Pair(t).replicate();
    for (const file of [primary, replica]) damage(file, 3);
    const { status, json } = lockstepJson("verify", primary, replica);
    assert.deepEqual([status, json.identical], [1, true]);
    assert.notEqual(json.integrity.a, "ok");
  });
});

describe("while they are written", () => {
  test("identical, again and again; every commit is acknowledged", async (t) => {
    const { primary, replica } = new Pair(t).replicate();
    const writer = await startWriter(t, primary, replica);
    const until = performance.now() + 5000;
    let times = 0;
    for (; performance.now() < until; times++) {
      const report = await verify(primary, replica);
      assert.deepEqual([report.identical, report.differing], [true, 0]);
      assert.deepEqual(report.integrity, { a: "ok", b: "ok" });
    }
    assert.equal(lockstep("verify", primary, replica).status, 0);
    const acknowledged = await writer.end();
    assert.ok(times > 3 && acknowledged > 0, `${times} times, ${acknowledged} rows`);
    assert.equal((await verify(primary, replica)).identical, true);
  });

  test("damage is seen among pages that change", async (t) => {
    const pair = new Pair(t).replicate();
    const page = quietPage(pair.replica);
    await startWriter(t, pair.primary, pair.replica);
    damage(pair.replica, page);
    const report = await verify(pair.primary, pair.replica);
    assert.deepEqual(report.different, [{ page, owner: "entry" }]);
  });

  test("another database than one that is written is different, not undecided", async (t) => {
    const pair = new Pair(t).replicate();
    const other = pair.path("other");
    plain(other, "CREATE TABLE something(x)");
    await startWriter(t, pair.primary, pair.replica);
    const report = await verify(pair.primary, other);
    assert.equal(report.identical, false);
  });
});
