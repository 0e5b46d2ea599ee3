/**
 * A whole start with one damaged file of the primary or of its replica. It succeeds, and the copies
 * are equal and hold all that the other copy held; or it is refused with an error of ours, and the
 * other copy holds what it held. It never goes the wrong way.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { LockstepError } from "../../../src/errors.ts";
import type { Db, Scene } from "../../support/scene.ts";
import type { Target } from "../fuzzer.ts";
import { type Hurt, hurt, someHurt } from "../hurt.ts";
import { type Contents, type Left, lives, rowsOf } from "../lives.ts";
import { touchingOnlyOwn } from "../own-files.ts";

export interface StartInput extends Hurt {
  /** Which pair of copies. */
  readonly left: number;
}

/** @param alter a canary's: what it does to the copies once the start has ended */
export function startTarget(
  _?: unknown,
  alter: (scene: Scene) => void = () => {},
): Target<StartInput> {
  const all = [...lives("node:sqlite"), ...lives("better-sqlite3")];
  return {
    name: "start",
    unguided: true,
    corpus: [{ left: 0, copy: 0, suffix: "-wal", seed: [0, 0] }],
    mutate: (_input, _others, random) => ({ left: random.below(all.length), ...someHurt(random) }),
    async check(input) {
      const { scene, contents } = all[input.left] as Left;
      const image = scene.crashImage();
      try {
        if (!hurt(image, input)) return;
        const floor = contents[1 - input.copy] as Contents;
        await touchingOnlyOwn(image.root, image.copies, () => start(image, floor, contents, alter));
        holdsAll(image.copies[1 - input.copy] as string, floor);
      } finally {
        fs.rmSync(image.root, { recursive: true, force: true });
      }
    },
  };
}

const LATER = "INSERT OR REPLACE INTO t VALUES(5000000, zeroblob(10))";

function start(
  image: Scene,
  floor: Contents,
  contents: readonly Contents[],
  alter: (scene: Scene) => void,
): void {
  image.acknowledged.clear(); // rows are compared here, by what they hold
  let db: Db | null = null;
  try {
    db = image.open();
    db.exec(LATER);
  } catch (error) {
    assert.ok(error instanceof LockstepError, `an error of ours: ${(error as Error).stack}`);
    db?.abandon();
    alter(image);
    return;
  }
  if (!closed(db)) return;
  alter(image);
  for (const copy of image.copies) {
    const rows = holdsAll(copy, floor);
    rows.delete(5_000_000);
    for (const [n, digest] of rows) {
      assert.ok(
        contents.some((known) => known.get(n) === digest),
        `row ${n} was in a copy before`,
      );
    }
  }
}

/** Closes, with the comparison; false if what is damaged shows only now. */
function closed(db: Db): boolean {
  try {
    db.close();
    return true;
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    return false;
  }
}

function holdsAll(copy: string, floor: Contents): Map<number, string> {
  const rows = rowsOf(copy);
  for (const [n, digest] of floor) {
    assert.equal(rows.get(n), digest, `row ${n} is in ${path.basename(path.dirname(copy))}`);
  }
  return rows;
}
