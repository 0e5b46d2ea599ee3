/** The process that looks for rot ends, or cannot be begun: another one goes on. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Scrubber } from "../../src/gate/scrubber.ts";
import { rot } from "../support/rot.ts";
import { Scene } from "../support/scene.ts";
import { filled, PAGE, rottenInUse, scrubBytesPerSecond } from "./healing.ts";

/** The processes of ours that look for rot. */
function scrubbers(): number[] {
  const lines = execFileSync("ps", ["-o", "pid=,args=", "--ppid", String(process.pid)], {
    encoding: "utf8",
  }).split("\n");
  return lines.filter((line) => /scrubber\.ts/.test(line)).map((line) => Number.parseInt(line, 10));
}

test("killed: it knows what was named, and finds what comes then", async (t) => {
  const scene = Scene.make(t);
  filled(scene);
  for (const copy of scene.copies) rot(copy, 5, PAGE, 3000); // nothing to heal it with
  const db = scene.open({ scrubBytesPerSecond });
  const told: string[] = [];
  const both = new Promise<void>((resolve) => {
    db.hub.replication.on("rot", ({ copy, page }) => {
      if (told.push(`${page} ${copy}`) === 2) resolve();
    });
  });
  await both;
  const [first] = scrubbers() as [number];
  process.kill(first, "SIGKILL");
  for (const copy of scene.copies) rottenInUse(copy, [9]);
  for (const copy of scene.copies) rottenInUse(copy, [5], 3000); // as it was
  while (told.length < 4 || db.hub.replication.status.rot.length > 2) await delay(10);
  const expected = [5, 9].flatMap((page) => scene.copies.map((copy) => `${page} ${copy}`));
  assert.deepEqual(told.toSorted(), expected.toSorted(), "each once");
  assert.ok(db.hub.replication.status.rot.every(({ page }) => page === 9));
  assert.notEqual(scrubbers()[0], first);
  db.abandon();
});

test("it cannot be begun: that is a warning, until it can", async (t) => {
  const scene = Scene.make(t);
  filled(scene);
  const { execPath } = process;
  t.after(() => {
    process.execPath = execPath;
  });
  process.execPath = "/nowhere/node";
  const db = scene.open({ scrubBytesPerSecond, openTransactionMs: 200 });
  const kinds = (): string[] => db.hub.replication.status.warnings.map(({ kind }) => kind);
  while (!kinds().includes("no-scrub")) await once(db.hub.replication, "warning");
  process.execPath = execPath;
  while (kinds().includes("no-scrub")) await once(db.hub.replication, "warning-over");
  assert.equal(scrubbers().length, 1);
  db.close();
});

test("it is not begun anew once all is closed", async (t) => {
  const scene = Scene.make(t);
  filled(scene);
  const context = { healer: null, tell: () => {}, durable: async () => {} };
  const scrubber = new Scrubber(scene.copies, 100e6, context);
  const [first] = scrubbers() as [number];
  process.kill(first, "SIGKILL");
  while (scrubber.missing === null) await delay(5);
  scrubber.close();
  await delay(700); // it would be begun by then
  assert.deepEqual(scrubbers(), []);
});
