/** A database's image, and what is said when the system does not let it be read. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { pageSizeOf } from "../../src/wal/image.ts";
import { scratch } from "../scratch.ts";

test("a file whose first page cannot be read: the error says which file", (t) => {
  const unreadable = scratch(t);
  const fd = fs.openSync(unreadable, "r");
  t.after(() => fs.closeSync(fd));
  assert.throws(() => pageSizeOf(fd, unreadable), { code: "EISDIR", file: unreadable });
});
