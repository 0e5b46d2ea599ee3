/** What a process of its own does with whole files. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isAlive } from "../../src/lineage/alive.ts";
import { expectBulk, runBulk } from "../../src/lineage/bulk.ts";
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

const watch = { wanted: () => true, onProgress: () => {} };

test("a process that was begun before takes one task, and the next has its own", async (t) => {
  const directory = scratch(t);
  const from = path.join(directory, "from, of ünusual name");
  fs.writeFileSync(from, "content");
  const spare = expectBulk();
  for (const name of ["first", "second"]) {
    const to = path.join(directory, name);
    const task = { task: "copy", from, to, sums: { of: [], from: null } } as const;
    await runBulk(task, to, { ...watch, spare });
    assert.equal(fs.readFileSync(to, "utf8"), "content");
  }
  await spare.drop();
});

for (const isKnown of [true, false]) {
  test(`one that was ended before it is needed is not missed, ${isKnown ? "long" : "just"} before`, async (t) => {
    const directory = scratch(t);
    const [from, to] = [path.join(directory, "from"), path.join(directory, "to")];
    fs.writeFileSync(from, "content");
    const spare = expectBulk();
    const pid = spare.pid as number;
    process.kill(pid, "SIGKILL");
    while (isKnown && isAlive(pid)) await delay(5); // until this process has taken note of it
    if (isKnown) await delay(50);
    const task = { task: "copy", from, to, sums: { of: [], from: null } } as const;
    await runBulk(task, to, { ...watch, spare });
    assert.equal(fs.readFileSync(to, "utf8"), "content");
    await spare.drop();
  });
}

test("an error of one that was begun before is an error", async (t) => {
  const directory = scratch(t);
  const [from, to] = [path.join(directory, "missing"), path.join(directory, "to")];
  const task = { task: "copy", from, to, sums: { of: [], from: null } } as const;
  const copied = runBulk(task, to, { ...watch, spare: expectBulk() });
  await assert.rejects(copied, { code: "ENOENT", file: from });
});

test("one that nobody needs is not left behind: dropped, or with who began it", () => {
  const bulk = new URL("../../src/lineage/bulk.ts", import.meta.url).href;
  const script = `const { expectBulk } = await import(${JSON.stringify(bulk)});
    const dropped = expectBulk();
    await dropped.drop();
    await dropped.drop();
    expectBulk();
    setTimeout(() => process.exit(), 100);`;
  // It returns when nobody has its output any more; the spare's errors go there, too.
  const stdio = ["ignore", "pipe", "pipe"] as const;
  execFileSync(process.execPath, ["--input-type=module", "-e", script], {
    stdio: [...stdio],
    timeout: 60_000,
  });
});
