// Goal: a table is never wider than the terminal, and nothing of it is lost.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { table } from "../../src/cli/table.ts";
import { scratch } from "../scratch.ts";
import { main } from "./lockstep.ts";

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

test("COLUMNS says how wide it may be where there is no terminal", (t) => {
  const columns = 30;
  const { stdout, stderr } = spawnSync(process.execPath, [main, "bench", "--seconds", "1"], {
    cwd: scratch(t),
    env: { ...process.env, COLUMNS: String(columns) },
    encoding: "utf8",
  });
  const lines = stdout.split("\n");
  const from = lines.findIndex((line) => /^ +p50 ms/.test(line));
  const to = lines.findIndex((line, at) => at > from && line === "commits/s");
  assert.ok(from > 0 && to > from, stdout + stderr);
  const drawn = lines.slice(from, to);
  assert.ok(Math.max(...drawn.map(({ length }) => length)) <= columns, drawn.join("\n"));
});
