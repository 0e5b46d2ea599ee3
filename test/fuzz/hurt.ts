/** Damage to one file of a copy, of the kind that gets furthest with that file. */
import fs from "node:fs";
import { scanLog } from "../../src/wal/scan.ts";
import { Random } from "../crash/random.ts";
import type { Scene } from "../support/scene.ts";
import { damage, forge } from "./bytes.ts";
import { forgeRecord } from "./records.ts";

export interface Hurt {
  /** Which copy is damaged: 0 the primary, 1 the replica; and its file: a suffix. */
  readonly copy: number;
  readonly suffix: string;
  readonly seed: readonly [number, number];
}

const SUFFIXES = [
  "",
  "-wal",
  "-wal",
  "-wal",
  "-lockstep",
  "-lockstep-amended",
  "-shm",
  "-lockstep-journal",
];

export function someHurt(random: Random): Hurt {
  return {
    copy: random.below(2),
    suffix: random.pick(SUFFIXES),
    seed: [random.below(2 ** 31), random.below(2 ** 31)],
  };
}

/**
 * False if what became of it is no damage that could be told: a log that goes on is another program's
 * transaction; a file that was being folded when the process died may have been written anywhere.
 */
export function hurt(scene: Scene, { copy, suffix, seed }: Hurt): boolean {
  const name = scene.copies[copy] as string;
  if (suffix === "" && scene.sidecar(name).state.folding) return false;
  const file = name + suffix;
  const random = new Random(...seed);
  const before = fs.existsSync(file) ? fs.readFileSync(file) : Buffer.alloc(0);
  const siblings = scene.copies.flatMap((copy) => [copy, `${copy}-wal`, `${copy}-lockstep`]);
  const others = siblings.filter((each) => each !== file && fs.existsSync(each));
  const other = fs.readFileSync(random.pick(others));
  const how = random.below(24);
  if (how < 2)
    fs.writeFileSync(file, other); // not damaged but mistaken for another
  else if (how < 4) fs.rmSync(file, { force: true });
  else if (file.endsWith("-lockstep") && how < 20) forgeRecord(file, random);
  else if (!file.endsWith("-wal")) fs.writeFileSync(file, damage(before, other, random));
  else fs.writeFileSync(file, forge(before, other, random));
  return !goesOn(file, before);
}

/** Does the log have all it had, and more? */
function goesOn(file: string, before: Buffer): boolean {
  if (!file.endsWith("-wal")) return false;
  const now = scanLog(file);
  fs.writeFileSync(`${file}-lockstep-before`, before);
  const then = scanLog(`${file}-lockstep-before`);
  fs.rmSync(`${file}-lockstep-before`);
  const [mine, had] = [now?.commits ?? [], then?.commits ?? []];
  if (mine.length <= had.length) return false;
  return had.every(({ sum1, sum2 }, i) => mine[i]?.sum1 === sum1 && mine[i]?.sum2 === sum2);
}
