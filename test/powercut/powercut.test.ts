/**
 * Power fails on all disks at once; then also one of them is gone for ever. First the laboratory proves
 * itself: plain SQLite that does not sync its commits must be seen to lose some, and one that does must
 * not; a sync of Lockstep's that is taken for none must be missed.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { seed as first, runs } from "../support/seed.ts";
import { Laboratory } from "./laboratory.ts";
import { lifeOf } from "./lives.ts";
import { skip, tapeOf } from "./tape.ts";

/** Of each life. */
const STATES = 200;
const sqlite = { kind: "plain", driver: "node:sqlite", calls: 25 } as const;

/** One process for all: it is the faster the longer it runs. */
const laboratory = new Laboratory();
after(() => laboratory.close());

test("canary: SQLite at synchronous=NORMAL is seen to lose acknowledged commits", {
  skip,
}, async () => {
  const { problems } = await laboratory.life(
    { ...sqlite, seed: 1, synchronous: "NORMAL" },
    1,
    STATES,
  );
  assert.ok(problems.some(({ what }) => /were acknowledged, \d+ are found/.test(what)));
  assert.ok(!problems.some(({ what }) => /not sound|differ/.test(what)), "and nothing else");
});

test("SQLite at synchronous=FULL loses none", { skip }, async () => {
  const { problems } = await laboratory.life(
    { ...sqlite, seed: 2, synchronous: "FULL" },
    2,
    STATES,
  );
  assert.deepEqual(problems, []);
});

for (const [what, ignoring] of [
  ["the replica's log", /^replica\/app\.db-wal$/],
  ["the primary's log", /^main\/app\.db-wal$/],
  ["the replica's directory", /^replica$/],
] as const) {
  test(`canary: that ${what} is not synced is noticed`, { skip }, async () => {
    const { problems } = await laboratory.life(lifeOf(3), 3, STATES, ignoring);
    assert.ok(problems.length > 0);
  });
}

for (let seed = first; seed < first + runs(4); seed++) {
  test(`seed ${seed}: power cuts lose nothing that was acknowledged`, { skip }, async () => {
    const { problems } = await laboratory.lives(seed, STATES);
    // Replay: npm run powercut -- --seed N --a-tape 200 --tape FILE
    assert.deepEqual(problems, [], `see ${tapeOf(seed)}`);
  });
}
