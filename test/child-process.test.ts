/** Processes that Lockstep begins: what is heard of them, and where there is no room for one. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { beginChild, hear } from "../src/child-process.ts";
import { scratch } from "./scratch.ts";

/** What is heard of a process that says this, and then goes on for ever. */
async function heardOf(t: TestContext, says: string): Promise<{ heard: object[]; signal: string }> {
  const script = join(scratch(t), "says.mjs");
  fs.writeFileSync(
    script,
    `process.stdout.write(${JSON.stringify(says)}); process.stdin.resume();`,
  );
  const child = beginChild(script, [], ["pipe", "inherit"]);
  const heard: object[] = [];
  hear<object>(child, (message) => {
    heard.push(message);
    if ("last" in message) child.kill("SIGTERM");
  });
  const [, signal] = await once(child, "close");
  return { heard, signal };
}

test("what its end cut off is not heard", async (t) => {
  const { heard, signal } = await heardOf(t, '{"first": 1}\n{"last": 2}\n{"third": "cut o');
  assert.deepEqual([heard, signal], [[{ first: 1 }, { last: 2 }], "SIGTERM"]);
});

test("one that says what is no message is ended", async (t) => {
  const { heard, signal } = await heardOf(t, '{"first": 1}\n<--- Last few GCs --->\n');
  assert.deepEqual([heard, signal], [[{ first: 1 }], "SIGKILL"]);
});

test("no descriptor is left for one: an error, which somebody can catch", {
  skip: process.platform === "win32",
}, () => {
  const module = join(import.meta.dirname, "../src/child-process.ts");
  const script = `
    const { beginChild } = await import(${JSON.stringify(module)});
    const fs = await import("node:fs");
    try { for (;;) fs.openSync("/dev/null"); } catch {}
    try { beginChild("none.js", [], ["pipe", "ignore"]); } catch ({ code }) { fs.writeSync(1, code); }
    setTimeout(() => fs.writeSync(1, ", and goes on"), 50);`;
  const { stdout, stderr } = spawnSync(
    "sh",
    [
      "-c",
      'ulimit -n 64; exec "$@"',
      "sh",
      process.execPath,
      "--no-warnings",
      "--input-type=module",
      "-e",
      script,
    ],
    { encoding: "utf8" },
  );
  assert.equal(stdout, "EMFILE, and goes on", stderr);
});
