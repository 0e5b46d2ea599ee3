/**
 * Two copies whose records are sound, the log of one of them of any bytes. Where they are said to
 * stand in one line, one contains the other: what SQLite folds of the shorter log is what it folds of
 * the longer one, cut off there.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { loadDriver } from "../../../src/driver.ts";
import { decide } from "../../../src/lineage/decide.ts";
import { type Copy, describeCopy, walPath } from "../../../src/lineage/describe.ts";
import { readSidecar } from "../../../src/lineage/unlocked.ts";
import { frameOffset, sameSalts } from "../../../src/wal/format.ts";
import { type Ending, scratch } from "../../scratch.ts";
import { forge } from "../bytes.ts";
import type { Target } from "../fuzzer.ts";
import { type Left, lives } from "../lives.ts";
import { recover, renew } from "../oracle.ts";

export interface DecideInput {
  readonly left: number;
  /** Whose log: 0 the primary's, 1 the replica's. */
  readonly copy: number;
  readonly log: Buffer;
}

/** @param judge the function under test: a canary's is wrong */
export function decideTarget(t: Ending, judge = decide): Target<DecideInput> {
  const all = lives("node:sqlite");
  const directory = scratch(t);
  const driver = loadDriver("node:sqlite");
  const fold = (copy: Copy, frame: number): Buffer | null => {
    const { pageSize } = copy.log?.header ?? { pageSize: 0 };
    const log = copy.log ? fs.readFileSync(walPath(copy.path)) : Buffer.alloc(0);
    const cut = log.subarray(0, frame === 0 ? 0 : frameOffset(frame + 1, pageSize));
    return recover(directory, { file: fs.readFileSync(copy.path), log: Buffer.from(cut) }).folded;
  };
  return {
    name: "decide",
    corpus: all.flatMap(({ scene }, left) =>
      scene.copies.map((file, copy) => ({ left, copy, log: logOf(file) })),
    ),
    mutate({ left, copy, log }, others, random) {
      return { left, copy, log: forge(log, random.pick(others).log, random) };
    },
    check({ left, copy, log }) {
      const { scene } = all[left] as Left;
      const wal = walPath(scene.copies[copy] as string);
      const before = fs.existsSync(wal) ? fs.readFileSync(wal) : null;
      renew(wal, log);
      try {
        const [P, R] = scene.copies.map((file) =>
          describeCopy(file, readSidecar(driver, file)),
        ) as [Copy, Copy];
        const action = judge(P, R).action.do;
        if (action === "nothing") assertContains(P, R, fold);
        if (action === "send") assertContains(P, R, fold);
        if (action === "roll-forward") assertContains(R, P, fold);
      } finally {
        if (before) renew(wal, before);
        else fs.rmSync(wal, { force: true });
      }
    },
  };
}

/** Where `older` ends `newer` passed through; both files hold what was there when the log began. */
function assertContains(
  newer: Copy,
  older: Copy,
  fold: (copy: Copy, frame: number) => Buffer | null,
): void {
  const end = older.log?.commits.at(-1)?.frame ?? 0;
  const together = !older.log || (newer.log && sameSalts(newer.log.header, older.log.header));
  const there = together ? Math.min(end, newer.log?.commits.at(-1)?.frame ?? 0) : 0;
  const [a, b] = [fold(newer, there), fold(older, end)];
  if (a && b) assert.ok(a.equals(b), `what is older is in what is newer (${older.because})`);
}

function logOf(file: string): Buffer {
  return fs.existsSync(walPath(file)) ? fs.readFileSync(walPath(file)) : Buffer.alloc(0);
}
