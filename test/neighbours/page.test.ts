/** docs/neighbours.md: every row names a test, and the tests that it names are there. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";

const root = path.join(import.meta.dirname, "../..");
const page = fs.readFileSync(path.join(root, "docs/neighbours.md"), "utf8");

/** The rows of the tables, without their heads. */
const rows = page.split("\n").filter((line) => /^\| [^-]/.test(line) && !/\| test \|$/.test(line));

test("every row of docs/neighbours.md names tests that are there", () => {
  assert.ok(rows.length > 20);
  for (const row of rows) {
    const cell = row.split(" | ").at(-1) as string;
    const named = [...cell.matchAll(/((?:`(?:\\`|[^`])+`(?:, )?)+) \(([\w/-]+)\)/g)];
    assert.ok(named.length > 0, row);
    for (const [, names = "", file = ""] of named) {
      const name = file.includes("/") ? file : `neighbours/${file}`;
      const text = fs.readFileSync(path.join(root, "test", `${name}.test.ts`), "utf8");
      for (const [, quoted = ""] of names.matchAll(/`((?:\\`|[^`])+)`/g)) {
        assert.ok(text.includes(quoted), `test/${name}.test.ts has no test "${quoted}"`);
      }
    }
  }
});
