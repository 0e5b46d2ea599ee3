/** What the healing of rot may cost a running application: time of its thread, and room beside its copies. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Healer, Proposal } from "../../src/gate/heal.ts";
import { RotLog, rotPath } from "../../src/lineage/rot.ts";
import { scratch } from "../scratch.ts";
import { rot } from "../support/rot.ts";
import { Scene } from "../support/scene.ts";
import {
  endsSound,
  filled,
  healed,
  PAGE,
  rotten,
  scrubBytesPerSecond,
  takeAside,
} from "./healing.ts";

describe("what was kept aside", () => {
  function log(t: TestContext): { copy: string; pages: () => number[] } {
    const copy = join(scratch(t), "app.db");
    const pages = (): number[] => {
      const lines = fs.readFileSync(rotPath(copy), "utf8").split("\n").slice(0, -1);
      return lines.map((line) => JSON.parse(line).page);
    };
    return { copy, pages };
  }

  /** Adds a page, and finishes, if wanted. */
  function add(copy: string, page: number, finish = true, most?: number): void {
    const file = new RotLog(copy, most);
    try {
      file.add(page, Buffer.alloc(PAGE, page), 1, 2);
      if (finish) file.finish();
    } finally {
      file.close();
    }
  }

  test("is taken back if it was not finished", (t) => {
    const { copy, pages } = log(t);
    add(copy, 1);
    add(copy, 2, false);
    add(copy, 3);
    assert.deepEqual(pages(), [1, 3]);
  });

  test("does not go on in a line that was cut off", (t) => {
    const { copy, pages } = log(t);
    add(copy, 1);
    fs.appendFileSync(rotPath(copy), '{"at":"20');
    add(copy, 3);
    const text = fs.readFileSync(rotPath(copy), "utf8");
    fs.writeFileSync(rotPath(copy), text.replace('{"at":"20\n', ""));
    assert.deepEqual(pages(), [1, 3]);
  });

  test("has a bound", (t) => {
    const { copy, pages } = log(t);
    add(copy, 1, true, 10_000);
    assert.throws(() => add(copy, 2, true, 10_000), /enough was kept aside/);
    assert.deepEqual(pages(), [1]);
  });
});

/** Opened with rot in two of the chunks that are read at once; `heal` stands in for the healing, as often as it answers. */
function withRot(
  t: TestContext,
  heal: (proposal: Proposal) => ReturnType<Healer["heal"]> | "go on",
) {
  const scene = Scene.make(t);
  filled(scene, 100);
  rotten(scene.replica, 5, 90);
  const db = scene.open({ scrubBytesPerSecond });
  const healer = db.hub.healer as Healer;
  const real = healer.heal.bind(healer);
  healer.heal = (proposal) => {
    const answer = heal(proposal);
    return answer === "go on" ? real(proposal) : answer;
  };
  return db;
}

test("what nobody lets through is not proposed again in this pass, and the pass goes on", async (t) => {
  const proposals: Proposal[] = [];
  const db = withRot(t, (proposal) => {
    proposals.push(proposal);
    throw Object.assign(new Error("the log takes no more"), { code: "ENOSPC" });
  });
  const named = new Set<number>();
  for (;;) {
    const [{ page }] = await once(db.hub.replication, "rot");
    if (named.add(page).has(90)) break;
  }
  assert.equal(proposals.length, 1);
  assert.deepEqual(named, new Set([5, 90]));
  db.abandon();
});

test("the thread is left alone for ten times what a healing took", async (t) => {
  const took: { begun: number; ended: number }[] = [];
  const db = withRot(t, () => {
    const begun = performance.now();
    while (performance.now() < begun + 30);
    took.push({ begun, ended: performance.now() });
    return took.length < 3 ? [] : "go on";
  });
  await healed(db, 2);
  for (const [i, { begun, ended }] of took.slice(0, -1).entries()) {
    const next = took[i + 1]?.begun ?? 0;
    assert.ok(next - ended >= 10 * (ended - begun) - 2, `after ${next - ended} ms`); // timers are whole milliseconds
  }
  await endsSound(db);
});

test("a page that is no more is rotten no more, and was not healed", async (t) => {
  const scene = Scene.make(t);
  filled(scene, 100);
  for (const copy of scene.copies) rot(copy, 20, PAGE, 3000); // nothing to heal it with
  const db = scene.open({ scrubBytesPerSecond: 150_000, checkpointBytes: 1 });
  const [found] = await once(db.hub.replication, "rot");
  assert.deepEqual([found.copy, found.page], [scene.primary, 20]);
  db.exec("DELETE FROM t WHERE n > 3");
  db.exec("VACUUM");
  for (const n of [...scene.acknowledged.keys()]) if (n > 3) scene.acknowledged.delete(n);
  while (db.hub.replication.status.rot.length > 0) await delay(10);
  assert.equal(db.hub.replication.status.healed, 0);
  await endsSound(db);
});

describe("a defect of ours stops the process, and is not taken for a disk's", () => {
  const script = `
    const { Scrubber } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/gate/scrubber.ts"))});
    const [primary, replica, where] = process.argv.slice(1);
    const defect = () => { throw new TypeError("ours"); };
    const heal = ({ pages }) => pages;
    const healer = { heal: where === "heal" ? defect : heal, record() {} };
    setInterval(() => {}, 1000);
    new Scrubber([primary, replica], 100e6, { healer, tell() {}, durable: async () => defect() });`;
  for (const where of ["heal", "durable"]) {
    test(where, (t) => {
      const scene = Scene.make(t);
      filled(scene);
      rotten(scene.replica, 5);
      const { status, stderr } = spawnSync(
        process.execPath,
        ["--no-warnings", "--input-type=module", "-e", script, "--", ...scene.copies, where],
        { encoding: "utf8", timeout: 60_000 },
      );
      assert.equal(status, 1, stderr);
      assert.match(stderr, /TypeError: ours/);
      scene.replicas.forEach(takeAside);
    });
  }
});
