/**
 * Restores to random commits and to random times. Method: a primary whose content is noted after each commit. How many:
 * RUNS, and a fifth of that of times.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, type TestContext, test } from "node:test";
import { formatPosition } from "../../src/lineage/position.ts";
import { restoreStream } from "../../src/standby/restore.ts";
import type { StreamLog } from "../../src/stream/log.ts";
import { Random } from "../crash/random.ts";
import { runs, seed } from "../support/seed.ts";
import { assertEqual, contentAt, contentOf, insert, type World } from "./world.ts";

interface Commit {
  readonly position: string;
  readonly content: string;
  readonly message: number;
}

/** A primary with a life: rows come and go, logs begin anew, snapshots are taken, it shrinks. */
export async function live({ writer }: World<StreamLog>, commits: number): Promise<Commit[]> {
  const random = new Random(seed);
  const found: Commit[] = [];
  for (let i = 0; i < commits; i++) {
    const dice = random.below(20);
    if (dice < 12) await writer.run(insert(random.between(1, 20), 500));
    else if (dice < 15) await writer.run("DELETE FROM t WHERE id % 3 = 0");
    else if (dice < 16) await writer.run("VACUUM");
    else await writer.run(`UPDATE t SET x = randomblob(300) WHERE id % 5 = ${i % 5}`);
    const then = random.below(5);
    if (then === 0) writer.checkpoint();
    else if (then === 1) await writer.snapshot();
    const message = [...writer.positions.keys()].at(-1) as number;
    const position = formatPosition(writer.position);
    found.push({ position, content: contentOf(writer.db), message });
  }
  return found;
}

/** @param make a stream, and what writes it */
export function moments(
  where: string,
  skip: string | false,
  make: (t: TestContext) => Promise<World<StreamLog>>,
): void {
  const times = Math.ceil(runs(12) / 5);
  describe(`a restore out of a stream ${where}`, { skip }, () => {
    test(`to any commit, or to a time, is what the primary held then (seed ${seed})`, async (t) => {
      const w = await make(t);
      const commits = await live(w, 20 + runs(12));
      const random = new Random(seed, 1);
      const took = await timesOf(w.log, commits);
      for (let i = 0; i < runs(12) + times; i++) {
        const commit = i < runs(12) ? random.pick(commits) : random.pick(took);
        const { position, content, at } = { at: commit.position, ...commit };
        const dest = `${w.dest}-${i}`;
        const report = await restoreStream(w.log, dest, { at });
        assert.equal(report.position, position);
        assert.equal(report.isReplica, false);
        assert.equal(contentAt(dest), content, at);
        assert.equal(fs.existsSync(`${dest}-lockstep`), false);
        fs.rmSync(dest);
      }
      await restoreStream(w.log, w.dest);
      await assertEqual(w);
      const distinct = new Set(commits.map(({ content }) => content)).size;
      const { last } = await w.log.ends();
      t.diagnostic(
        `${runs(12)} positions and ${times} times, of ${commits.length} commits with ${distinct} contents in ${last} messages`,
      );
    });
  });
}

/** With the time that leads to each: of those that the place's clock does not tell apart the last one. */
async function timesOf(
  log: StreamLog,
  commits: readonly Commit[],
): Promise<(Commit & { readonly at: string })[]> {
  const found = new Map<string, Commit & { readonly at: string }>();
  for (const commit of commits) {
    const entry = await log.at(commit.message);
    const at = entry?.time.toISOString() ?? "";
    found.set(at, { ...commit, at });
  }
  return [...found.values()];
}
