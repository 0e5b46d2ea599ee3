/** Copies in step: a start that costs nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pause } from "../../src/gate/slots.ts";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import { driversOr } from "../support/drivers.ts";
import { Scene } from "../support/scene.ts";

for (const driver of driversOr("node:sqlite")) {
  test(`${driver}: after a clean close nothing is copied`, (t) => {
    const scene = Scene.make(t, { driver });
    scene.life((db) => db.put(20));
    for (let i = 0; i < 3; i++) {
      const db = scene.life((db) => db.put(i));
      db.assertNothingCopied();
    }
    assert.deepEqual(scene.events(scene.replica), [
      "copied",
      "closed",
      "closed",
      "closed",
      "closed",
    ]);
  });

  test(`${driver}: after a crash nothing is copied, whatever the log holds`, (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open({ checkpointBytes: 65536 });
    for (let i = 0; i < 12; i++) {
      db.put(1, 10_000);
      const image = scene.crashImage();
      image.life((again) => again.put()).assertNothingCopied();
      image.life().assertNothingCopied();
    }
    assert.ok(db.happened.includes("checkpoint"));
    db.close();
  });

  test(`${driver}: after a crash while the logs are folded ahead nothing is copied`, (t) => {
    const scene = Scene.make(t, { driver });
    const db = scene.open({ checkpointBytes: 300_000 });
    db.put();
    const files = (): string[] => scene.copies.map((copy) => readFingerprint(copy)?.mtimeNs ?? "");
    const before = files();
    const isWritten = (): boolean => files().every((now, i) => now !== before[i]);
    db.put(1, 600_000); // more than is folded between two commits
    const end = performance.now() + 20_000;
    while (!isWritten()) {
      assert.ok(performance.now() < end, "it is folded ahead before long");
      db.put(); // with a commit a checkpoint moves on, and between them only its thread does
      for (let i = 0; i < 20 && !isWritten(); i++) pause(1);
    }
    assert.deepEqual(db.happened, [], "the checkpoint has not ended");
    const image = scene.crashImage();
    image.life((again) => again.put()).assertNothingCopied();
    db.close();
  });
}
