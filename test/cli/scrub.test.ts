import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { rot } from "../support/rot.ts";
import { lockstep, lockstepJson } from "./lockstep.ts";
import { Pair } from "./pair.ts";

test("it says what rotted, where, and what became of it", (t) => {
  const pair = new Pair(t).replicate();
  const sound = lockstep("scrub", pair.primary, pair.replica);
  assert.equal(sound.status, 0, sound.stderr);
  assert.match(sound.stdout, /^read: \d+ pages of 4096 bytes, in 2 copies\nsound$/m);

  rot(pair.replica, 3, 4096, 17);
  const healed = lockstep("scrub", pair.primary, pair.replica);
  assert.equal(healed.status, 0, healed.stderr);
  assert.ok(
    healed.stdout.includes(
      `rotten: page 3 of by_text in ${pair.replica}: healed from ${pair.primary}\n` +
        `1 pages of ${pair.replica} were healed; as they were: ${pair.replica}-lockstep-rot\n` +
        "sound again\n",
    ),
    healed.stdout,
  );
  assert.deepEqual(fs.readFileSync(pair.primary), fs.readFileSync(pair.replica));

  for (const copy of [pair.primary, pair.replica]) rot(copy, 3, 4096, 5);
  const lost = lockstep("scrub", `sqlite3://${pair.primary}:${pair.replica}`);
  assert.equal(lost.status, 1);
  assert.match(lost.stdout, /^rotten: page 3 .*LOST in all copies, not changed$/m);
  assert.match(lost.stdout, /^NOT SOUND: 1 pages have rotted in every copy$/m);
});

test("--json has all of it", (t) => {
  const pair = new Pair(t).replicate();
  rot(pair.primary, 2, 4096, 100);
  const { status, json } = lockstepJson("scrub", pair.primary, pair.replica);
  assert.equal(status, 0);
  const { position, pages, ...rest } = json;
  assert.match(position, /^1\/[0-9a-f]{16}\/\d+\/[0-9a-f]{16}$/);
  assert.equal(pages * 4096, fs.statSync(pair.primary).size);
  assert.deepEqual(rest, {
    sound: true,
    pageSize: 4096,
    rotten: [{ page: 2, owner: "entry", rotten: [pair.primary], healedFrom: pair.replica }],
    different: [],
    lost: 0,
    differing: 0,
    copies: [
      { path: pair.primary, healed: 1, keptAside: `${pair.primary}-lockstep-rot`, sums: "held" },
      { path: pair.replica, healed: 0, keptAside: null, sums: "held" },
    ],
  });
});
