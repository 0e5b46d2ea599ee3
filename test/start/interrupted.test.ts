/**
 * A re-synchronisation that is cut off between any two of its statements: the replica is the old
 * state or the new one, and known to be, also if it comes back only generations later.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Driver, loadDriver } from "../../src/driver.ts";
import { describeCopy, logFrames } from "../../src/lineage/describe.ts";
import type { Position } from "../../src/lineage/position.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { resynchronise } from "../../src/mirror/prepare.ts";
import { Scene } from "../support/scene.ts";

/** A driver that tells of every statement before it runs it. */
function telling(tell: (sql: string) => void): Driver {
  const real = loadDriver("node:sqlite");
  return {
    name: real.name,
    open(path, options) {
      const connection = real.open(path, options);
      return {
        exec(sql) {
          tell(sql);
          connection.exec(sql);
        },
        all(sql, ...parameters) {
          tell(sql);
          return connection.all(sql, ...parameters);
        },
        close: () => connection.close(),
      };
    },
  };
}

test("whenever it is cut off, the replica is found behind or in step", async (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  scene.life((db) => db.put(3));
  for (let i = 0; i < 2; i++) scene.life((db) => db.put(3, 5000), { replicas: [1] });
  const two = scene.replicas[1] as string;
  const { state, history } = scene.sidecar(scene.primary);

  const images = new Map<string, Scene>();
  const driver = telling((sql) => {
    if (/^(COMMIT|PRAGMA wal_checkpoint)/.test(sql)) {
      images.set(`${images.size}: before ${sql}`, scene.crashImage());
    }
  });
  const sidecar = Sidecar.open(driver, two, "replica");
  const membership = {
    databaseId: state.databaseId as string,
    timeline: 1,
    position: state.folded?.position as Position,
    base: null,
    primary: scene.primary,
    file: null,
    history,
  };
  const copy = describeCopy(two, sidecar);
  const from = { position: copy.position as Position, frames: logFrames(copy) };
  await resynchronise(
    driver,
    sidecar,
    from,
    { membership, sums: "take" },
    {
      onProgress() {},
      wanted: () => true,
    },
  );
  sidecar.close();
  assert.ok(images.size >= 8, `${[...images.keys()]}`);

  for (const [name, image] of images) {
    await t.test(name, () => {
      const later = image.crashImage();
      image.life((db) => db.put());
      later.life((db) => db.put(20, 8000), { replicas: [1], checkpointBytes: 65536 });
      later.life((db) => db.put());
    });
  }
});
