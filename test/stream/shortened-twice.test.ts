/**
 * Two processes shorten one archive at one time, as an old primary and the one that took its place may: neither removes what
 * the other keeps, and where the archive begins never goes back.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { follow } from "../../src/standby/follow.ts";
import { Archive, createArchive } from "../../src/stream/archive.ts";
import type { Entry } from "../../src/stream/log.ts";
import { scratch } from "../scratch.ts";
import { assertEqual, insert, world } from "../standby/world.ts";
import { message, soon } from "./messages.ts";

const SHORTENING = fileURLToPath(new URL("./shortening.ts", import.meta.url));
const IMAGES = 25;

async function filled(t: TestContext, count: number) {
  const root = path.join(scratch(t), "archive");
  await createArchive(root);
  const log = await Archive.open(root);
  for (let i = 0; i < count; i++) await log.append(message(`message ${i + 1}`), i, soon());
  return { root, log };
}

/** Starts two processes at one moment. @returns what they say, when they have ended */
async function both(
  t: TestContext,
  address: string,
  moments: readonly (readonly number[])[],
): Promise<() => Promise<string[][]>> {
  const two = moments.map((each) => {
    const child = spawn(process.execPath, [SHORTENING, address, ...each.map(String)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  });
  for (const { lines } of two) assert.equal((await lines.next()).value, "ready");
  for (const { child } of two) child.stdin.write("go\n");
  const saidBy = async ({ child, lines }: (typeof two)[number]): Promise<string[]> => {
    const said: string[] = [];
    for (let line = await lines.next(); !line.done; line = await lines.next())
      said.push(line.value);
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    return said;
  };
  return () => Promise.all(two.map(saidBy));
}

test("what was removed is on record, whoever of two says so last", async (t) => {
  const { root, log } = await filled(t, 30);
  const other = await Archive.open(root);
  const { rename } = fs.promises;
  t.after(() => Object.assign(fs.promises, { rename }));
  // The other removes more, between what this one found and what it puts on record.
  fs.promises.rename = async (from, to) => {
    fs.promises.rename = rename;
    await other.purge(20);
    await rename(from, to);
  };
  await log.purge(10);
  for (const each of [log, other, await Archive.open(root)]) {
    assert.deepEqual(await each.ends(), { first: 20, last: 30 });
  }
  await log.purge(25);
  assert.deepEqual(await other.ends(), { first: 25, last: 30 });
  const records = fs.readdirSync(root).filter((name) => name.startsWith("purged"));
  assert.equal(records.length, 1, "what is older than the last is not kept");
});

test("two processes that remove all, a little at a time, get to its end", async (t) => {
  const { root, log } = await filled(t, 300);
  const done = await both(t, log.name, [[], []]);
  assert.deepEqual(await done(), [["done"], ["done"]]);
  assert.deepEqual(await (await Archive.open(root)).ends(), { first: 301, last: 300 });
});

test("two processes that shorten at one time leave what both keep", async (t) => {
  const w = await world(t);
  const { log, writer } = w;
  for (let i = 0; i < IMAGES; i++) {
    await writer.run(insert(3));
    await writer.snapshot();
    if (i % 3 === 0) writer.checkpoint();
  }
  const { first, last } = await log.ends();
  const at = async (n: number): Promise<number> => ((await log.at(n)) as Entry).time.getTime();
  const [from, to] = [await at(first), await at(last)];
  // One is the slower by a third: each meets the other at many places.
  const done = await both(t, log.name, [
    [from, to],
    [from, from + (2 * (to - from)) / 3],
  ]);
  // Commits go on meanwhile, and whoever looks sees an archive that is whole.
  let begins = first;
  let isDone = false;
  const said = done().finally(() => {
    isDone = true;
  });
  while (!isDone) {
    await writer.run(insert(1));
    const ends = await log.ends();
    assert.ok(ends.first >= begins, "where it begins never goes back");
    begins = ends.first;
  }
  for (const all of await said) {
    assert.equal(all.pop(), "done");
    // What the other has removed meanwhile could not be read; and nothing else went wrong.
    for (const line of all) assert.match(line, /^ERR_LOCKSTEP_REPLICA_GONE .* was removed/);
  }
  assert.ok(begins > first, "it was shortened");
  await follow(await Archive.open(w.archive), w.dest, { once: true });
  await assertEqual(w);
});
