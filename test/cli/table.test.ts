// Goal: a table is never wider than the terminal, and nothing of it is lost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { table } from "../../src/cli/table.ts";

const rows = [
  ["", "p50 ms", "commits/s"],
  ["plain, one database", "0.123", "12345"],
  ["lockstep barrier, 256 callers", "1.000", "7"],
];

test("as wide as it is where there is room", () => {
  const whole = [
    "                                p50 ms   commits/s",
    "plain, one database              0.123       12345",
    "lockstep barrier, 256 callers    1.000           7",
  ];
  assert.deepEqual(table(rows), whole);
  assert.deepEqual(table(rows, 50), whole);
});

test("too narrow: the first column is broken at its spaces", () => {
  assert.deepEqual(table(rows, 41), [
    "                       p50 ms   commits/s",
    "plain, one database     0.123       12345",
    "lockstep barrier,       1.000           7",
    "256 callers",
  ]);
});

test("too narrow for that: a figure a line", () => {
  assert.deepEqual(table(rows, 24), [
    ...["plain, one database", "  p50 ms 0.123", "  commits/s 12345"],
    ...["lockstep barrier, 256", "callers", "  p50 ms 1.000", "  commits/s 7"],
  ]);
});

test("at every width: no line is wider, every word is there", () => {
  for (let columns = 1; columns < 60; columns++) {
    const lines = table(rows, columns);
    assert.ok(Math.max(...lines.map(({ length }) => length)) <= columns, `${columns} columns`);
    const letters = lines.join("").replace(/\s/g, "");
    for (const word of rows.slice(1).flat().join(" ").split(" ")) {
      // A word may be broken, and a figure stands between the lines of a broken label.
      if (columns >= 20) assert.ok(letters.includes(word), `${word} at ${columns} columns`);
    }
  }
});
