/** Pairs of copies as lives of several kinds left them, and what each of the two holds. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { DriverName } from "../../src/driver.ts";
import type { Ending } from "../scratch.ts";
import { Scene } from "../support/scene.ts";
import { addNeighbours } from "./own-files.ts";

export interface Left {
  readonly name: string;
  readonly scene: Scene;
  /** What each copy holds, the primary first. */
  readonly contents: readonly Contents[];
}

/** Row number to a digest of its data. */
export type Contents = ReadonlyMap<number, string>;

/** Made once in a process, and removed at its end. */
export function lives(driver: DriverName): readonly Left[] {
  const left = made.get(driver) ?? make(driver);
  made.set(driver, left);
  return left;
}

const made = new Map<DriverName, readonly Left[]>();
/** What every scene and image wants done at the end. */
const ends: (() => void)[] = [];
process.once("exit", () => {
  for (const end of ends) end();
});

function make(driver: DriverName): Left[] {
  const t: Ending = { after: (end) => void ends.push(end as () => void) };
  return [closed, cutOff, secondGeneration, replicaBehind, unacknowledged].map((live) => {
    const scene = Scene.make(t, { driver });
    const left = live(scene);
    addNeighbours(left.root);
    if (left !== scene) fs.rmSync(scene.root, { recursive: true });
    return { name: live.name, scene: left, contents: left.copies.map(rowsOf) };
  });
}

/**
 * What SQLite reads of a copy, file and log; of another one of the same content, so that nothing
 * changes here. @throws what SQLite throws of a copy that is damaged
 */
export function rowsOf(copy: string): Map<number, string> {
  const file = path.join(path.dirname(copy), "..", "looked-at.db");
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(file + suffix, { force: true });
  for (const suffix of ["", "-wal"]) {
    if (fs.existsSync(copy + suffix)) fs.copyFileSync(copy + suffix, file + suffix);
  }
  const db = new DatabaseSync(file);
  try {
    db.exec("PRAGMA synchronous=OFF");
    const rows = db.prepare("SELECT n, data FROM t").all() as { n: number; data: Uint8Array }[];
    return new Map(rows.map(({ n, data }) => [n, digest(data)]));
  } finally {
    db.close();
    for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(file + suffix, { force: true });
  }
}

function digest(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex").slice(0, 16);
}

function closed(scene: Scene): Scene {
  scene.life((db) => db.put(5, 900));
  return scene;
}

function cutOff(scene: Scene): Scene {
  scene.life((db) => db.put(3, 900));
  return imageOf(scene, () => {}, 8 << 20);
}

/** Checkpoints came before: the log was begun anew. */
function secondGeneration(scene: Scene): Scene {
  return imageOf(scene, (put) => put(30), 30_000);
}

function replicaBehind(scene: Scene): Scene {
  scene.life((db) => db.put(3, 900));
  const other = path.join(scene.root, "other", "app.db");
  fs.mkdirSync(path.dirname(other));
  scene.life((db) => db.put(4, 900), { replicas: [other] });
  fs.rmSync(path.dirname(other), { recursive: true });
  return scene;
}

function unacknowledged(scene: Scene): Scene {
  return imageOf(scene, (_, one) => one(1001), 8 << 20);
}

function imageOf(
  scene: Scene,
  more: (put: (count: number) => void, one: (n: number) => void) => void,
  checkpointBytes: number,
): Scene {
  const db = scene.open({ checkpointBytes });
  db.put(6, 900);
  more(
    (count) => db.put(count, 900),
    (n) => db.putUnacknowledged(n),
  );
  const image = scene.crashImage();
  db.close();
  return image;
}
