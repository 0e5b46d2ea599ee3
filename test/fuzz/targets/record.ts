/**
 * A record (`<copy>-lockstep`) of any bytes. What is read of it is whole, every field of its kind; or
 * nothing; or it is refused with SIDECAR. What is concluded from it is a decision, never a TypeError.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { loadDriver } from "../../../src/driver.ts";
import { codes, LockstepError } from "../../../src/errors.ts";
import { decide } from "../../../src/lineage/decide.ts";
import { describeCopy } from "../../../src/lineage/describe.ts";
import { formatPosition } from "../../../src/lineage/position.ts";
import { readSidecar, type SidecarSnapshot } from "../../../src/lineage/unlocked.ts";
import { Random } from "../../crash/random.ts";
import { type Ending, scratch } from "../../scratch.ts";
import { damage } from "../bytes.ts";
import type { Target } from "../fuzzer.ts";
import { type Left, lives } from "../lives.ts";
import { renew } from "../oracle.ts";
import { forgeRecord } from "../records.ts";

export interface RecordInput {
  /** Which pair of copies it lies beside, and beside which of the two. */
  readonly left: number;
  readonly copy: number;
  readonly bytes: Buffer;
  /** How its values are changed; null: not at all. */
  readonly forged: readonly [number, number] | null;
}

/** @param read the function under test: a canary's is wrong */
export function recordTarget(t: Ending, read = readSidecar): Target<RecordInput> {
  const all = lives("node:sqlite");
  const directory = scratch(t);
  const driver = loadDriver("node:sqlite");
  return {
    name: "record",
    corpus: all.flatMap(({ scene }, left) =>
      scene.copies.map((file, copy) => {
        const bytes = fs.readFileSync(`${file}-lockstep`);
        return { left, copy, bytes, forged: null };
      }),
    ),
    mutate({ left, copy, bytes }, others, random) {
      const other = random.pick(others).bytes;
      const values = !random.oneIn(3);
      return {
        ...(random.oneIn(9) ? { left: random.below(all.length), copy: 1 - copy } : { left, copy }),
        bytes: values ? bytes : damage(bytes, other, random),
        forged: values ? [random.below(2 ** 31), random.below(2 ** 31)] : null,
      };
    },
    check({ left, copy, bytes, forged }) {
      const { scene } = all[left] as Left;
      const name = path.join(directory, "app.db");
      renew(`${name}-lockstep`, bytes);
      if (forged) forgeRecord(`${name}-lockstep`, new Random(...forged));
      let found: SidecarSnapshot | null = null;
      try {
        found = read(driver, name);
      } catch (error) {
        assert.ok(error instanceof LockstepError, `${(error as Error).stack}`);
        assert.equal(error.code, codes.SIDECAR);
      }
      if (!found) return;
      assertWhole(found);
      const [primary, replica] = scene.copies.map((file, i) =>
        describeCopy(file, i === copy ? found : read(driver, file)),
      ) as [ReturnType<typeof describeCopy>, ReturnType<typeof describeCopy>];
      const { relation, because } = decide(primary, replica);
      assert.match(`${relation}: ${because}`, /^[a-z-]+: \S/);
      for (const { position } of [primary, replica]) if (position) formatPosition(position);
    },
  };
}

const isWord = (value: unknown): boolean =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32;

/** Written down once more, and not taken from the source: what each field may be. */
function assertWhole({ state, history, owner, events }: SidecarSnapshot): void {
  const { databaseId, copyId, role, timeline, generation, folded, folding, apart, resync } = state;
  const isName = (value: unknown): boolean => typeof value === "string";
  assert.ok(databaseId === null || isName(databaseId), "databaseId");
  assert.ok(isName(copyId), "copyId");
  assert.ok(role === "primary" || role === "replica", "role");
  assert.ok(isCount(timeline), "timeline");
  assert.equal(typeof folding, "boolean", "folding");
  assert.ok(Array.isArray(apart) && apart.every(isName), "apart");
  if (generation !== null) {
    assert.ok(isWord(generation.salt1) && isWord(generation.salt2), "generation");
    if (generation.base !== null) assertPosition(generation.base, "generation.base");
  }
  if (folded !== null) {
    assertPosition(folded.position, "folded.position");
    for (const key of ["size", "mtimeNs", "inode"] as const) {
      assert.match(folded.file[key], /^-?\d+$/, `folded.file.${key}`);
    }
  }
  if (resync !== null) {
    assert.ok(isWord(resync.salt1) && isWord(resync.salt2), "resync");
    assertPosition(resync.to, "resync.to");
  }
  history.forEach((position, i) => {
    assertPosition(position, `history ${i}`);
  });
  if (owner !== null) assert.ok(isCount(owner.pid) && isName(owner.host), "owner");
  for (const { at, what, detail } of events) assert.ok([at, what, detail].every(isName), "event");
}

function assertPosition(position: Record<string, unknown> | object, what: string): void {
  const { timeline, salt1, salt2, frame, sum1, sum2 } = position as Record<string, unknown>;
  assert.ok(isCount(timeline) && isWord(frame), what);
  assert.ok([salt1, salt2, sum1, sum2].every(isWord), what);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
