/**
 * A scrub that is killed at any of its system calls: every page of every copy is as it was or healed, and
 * the next scrub, or a start before it, completes what was begun.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DatabaseSync } from "../../src/index.ts";
import { scrub } from "../../src/scrub.ts";
import { withImage } from "../../src/wal/image.ts";
import { Random } from "../crash/random.ts";
import { Faults, type Rule, skip } from "../faults/shim.ts";
import { scratch } from "../scratch.ts";
import { rot } from "../support/rot.ts";
import { runs, seed } from "../support/seed.ts";
import { wrongSums } from "../support/sums.ts";
import { Subject } from "./random.ts";

const PAGE = 4096;
const CLI = join(import.meta.dirname, "../../src/cli/main.ts");

/** Runs the command under a rule; its exit status, or the signal that ended it. */
function scrubUnder(
  faults: Faults,
  rule: Rule,
  copies: readonly string[],
): Promise<number | string> {
  faults.set(rule);
  const child = spawn(process.execPath, ["--no-warnings", CLI, "scrub", "--json", ...copies], {
    env: { ...process.env, ...faults.env },
    stdio: "ignore",
    detached: true, // a group of its own, which ends as a whole
  });
  return new Promise((resolve) =>
    child.once("close", (code, signal) => resolve(signal ?? code ?? "")),
  );
}

/** What a reader of a copy finds, page by page. */
function pagesOf(copy: string): Buffer[] {
  return withImage(copy, (image) =>
    Array.from({ length: image.pages }, (_, i) => {
      const page = Buffer.alloc(PAGE);
      image.read(i + 1, 1, page);
      return page;
    }),
  );
}

test("a page that its disk cannot read is healed as one that has rotted", { skip }, async (t) => {
  const disks = join(scratch(t), "disks");
  fs.mkdirSync(disks);
  const { copies } = new Subject(disks, 500);
  const faults = new Faults(disks, scratch(t));
  const sound = copies.map(pagesOf);
  // All pages at once, and then the first.
  const rule: Rule = { on: "read", path: "main/app.db", times: 2, does: { error: "EIO" } };
  assert.equal(await scrubUnder(faults, rule, copies), 0);
  assert.ok(faults.matched(0) >= 2);
  const [line] = fs.readFileSync(`${copies[0]}-lockstep-rot`, "utf8").split("\n");
  const { page, bytes } = JSON.parse(line as string);
  assert.deepEqual([page, Buffer.from(bytes, "base64")], [1, Buffer.alloc(PAGE)]);
  assert.deepEqual(copies.map(pagesOf), sound);
});

test(`seed ${seed}: killed at any call, it is one or the other, and can be completed`, {
  skip,
}, async (t) => {
  const disks = join(scratch(t), "disks");
  fs.mkdirSync(disks);
  const { copies } = new Subject(disks, 500);
  const faults = new Faults(disks, scratch(t));
  const [primary, replica] = copies;
  const sound = pagesOf(primary);
  const random = new Random(seed);
  const bad = { main: [3, 17], replica: [1, 9] };
  const spoil = (): void => {
    for (const page of bad.main) rot(primary, page, PAGE, 200, random.below(8));
    for (const page of bad.replica) rot(replica, page, PAGE, 300, random.below(8));
  };
  spoil();
  const never: Rule = { on: "*", path: "*", nth: 1e6, does: "killgroup" };
  assert.equal(await scrubUnder(faults, never, copies), 0);
  const calls = faults.matched(0);
  assert.ok(calls > 150, `${calls} calls`);

  const times = runs(6);
  for (let i = 0; i < times; i++) {
    spoil();
    const rotten = copies.map(pagesOf);
    const nth = 1 + Math.floor(((i + random.below(1000) / 1000) / times) * calls);
    assert.equal(await scrubUnder(faults, { ...never, nth }, copies), "SIGKILL", `call ${nth}`);
    copies.forEach((copy, n) => {
      const wrong = pagesOf(copy).flatMap((page, at) =>
        page.equals(sound[at] as Buffer) || page.equals(rotten[n]?.[at] as Buffer) ? [] : [at + 1],
      );
      assert.deepEqual(wrong, [], `killed at call ${nth} of ${calls}: pages of ${copy}`);
    });
    if (random.oneIn(2)) {
      try {
        new DatabaseSync(primary, { replicas: [replica] }).close();
      } catch (error) {
        assert.match(String(error), /not a database|NOT_A_DATABASE/, "page 1 has rotted");
      }
    }
    const report = await scrub(primary, [replica]);
    assert.equal(report.sound, true);
    for (const copy of copies) {
      assert.ok(
        pagesOf(copy).every((page, at) => page.equals(sound[at] as Buffer)),
        `call ${nth}: healed`,
      );
      assert.deepEqual(wrongSums(copy), []);
    }
  }
});
