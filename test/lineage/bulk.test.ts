/** What a process of its own does with whole files. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { runBulk } from "../../src/lineage/bulk.ts";
import { scratch } from "../scratch.ts";

test("a copy that ended when nobody waited for it any more is not taken", async (t) => {
  const directory = scratch(t);
  const [from, to] = [path.join(directory, "from"), path.join(directory, "to")];
  fs.writeFileSync(from, "content");
  let lines = 0;
  let asked = 0;
  const wanted = () => ++asked <= lines + 1; // with every line, and one result; not at its end
  const onProgress = () => void lines++;
  const task = { task: "copy", from, to, sums: { of: [], from: null } } as const;
  await runBulk(task, to, { wanted: () => true, onProgress });
  fs.rmSync(to);
  await assert.rejects(runBulk(task, to, { wanted, onProgress: () => {} }), /nobody waits/);
});
