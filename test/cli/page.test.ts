import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { PAGE, page } from "../../scripts/cli-page.ts";

test("docs/cli.md has each command's help as it is: npm run docs:cli", () => {
  const present = fs.readFileSync(PAGE, "utf8");
  assert.equal(present, page(present));
  assert.match(present, /^### lockstep drill\n\n```text\nUsage: lockstep drill /m);
});

test("a help that changed is noticed", () => {
  const present = fs.readFileSync(PAGE, "utf8");
  const old = present.replace("Usage: lockstep verify [--json]", "Usage: lockstep verify");
  assert.notEqual(old, present);
  assert.notEqual(old, page(old));
});
