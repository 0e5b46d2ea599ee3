/** Checkpoints that come between what is seen of rot and its healing: then it is proposed anew, in the same pass. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { loadDriver } from "../../src/driver.ts";
import type { Healer } from "../../src/gate/heal.ts";
import type { Finding } from "../../src/gate/scrubber.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { Scene } from "../support/scene.ts";
import {
  contentElsewhere,
  endsSound,
  filled,
  healed,
  rotten,
  scrubBytesPerSecond,
  takeAside,
} from "./healing.ts";

/** The next pass, which would heal it too, begins a minute later. */
const timeout = 55_000;

test("ten proposals that come too late", { timeout }, async (t) => {
  const scene = Scene.make(t);
  const content = filled(scene);
  rotten(scene.replica, 5);
  const db = scene.open({ scrubBytesPerSecond });
  const healer = db.hub.healer as Healer;
  const heal = healer.heal.bind(healer);
  let proposals = 0;
  healer.heal = (proposal) => (++proposals <= 10 ? [] : heal(proposal)); // as after a checkpoint
  await healed(db, 1);
  assert.equal(proposals, 11);
  assert.deepEqual(contentElsewhere(scene.replica), content);
  await endsSound(db);
});

test("a checkpoint of the copy that has the right page is under way", { timeout }, async (t) => {
  const scene = Scene.make(t);
  filled(scene);
  rotten(scene.primary, 5);
  const record = Sidecar.open(loadDriver("node:sqlite"), scene.replica, "replica");
  record.beginFold();
  const script = join(import.meta.dirname, "../../src/scrub/scrubber.ts");
  const job = JSON.stringify({
    copies: scene.copies,
    bytesPerSecond: 100e6,
    heals: true,
    named: [],
  });
  const child = spawn(process.execPath, ["--no-warnings", script, job], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const found: Finding[] = [];
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => found.push(JSON.parse(line)));
  const types = (): string[] => found.map(({ type }) => type);
  await once(lines, "line");
  await delay(100); // it would not wait for that
  assert.deepEqual(types(), ["rot"]);
  record.update({ folding: false });
  record.close();
  await once(lines, "line");
  assert.deepEqual(types(), ["rot", "heal"]);
  child.stdin.end();
  await once(child, "close");
  takeAside(scene.primary);
  rotten(scene.primary, 5); // as it was
  scene.assertAtRest();
});
