/** `lockstep follow`, `restore` of a stream, `promote`, as somebody runs them. What they do: test/standby. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { formatPosition } from "../../src/lineage/position.ts";
import { assertEqual, contentAt, contentOf, insert, world } from "../standby/world.ts";
import { lockstep, lockstepJson, main } from "./lockstep.ts";

test("follow --once, promote, restore: in words, and in JSON", async (t) => {
  const w = await world(t);
  const { log, dest } = w;
  await w.writer.run(insert(3));
  const [then, content] = [formatPosition(w.writer.position), contentOf(w.writer.db)];
  await w.writer.run(insert(3));
  const first = lockstep("follow", "--once", log.name, dest);
  assert.deepEqual([first.status, first.stdout], [0, ""], first.stderr);
  assert.match(first.stderr, /in step: .*standby\.db at 1\/[\s\S]*stopped at 1\//);
  const again = lockstep("follow", "--once", "--json", log.name, dest);
  const events = again.stdout.trim().split("\n");
  assert.deepEqual(
    events.map((line) => JSON.parse(line).event),
    ["in-step", "stopped"],
  );
  await assertEqual(w);

  const earlier = `${dest}-earlier`;
  const { status, json } = lockstepJson("restore", "--at", then, log.name, earlier);
  assert.equal(status, 0);
  assert.equal(json.position, then);
  assert.equal(contentAt(earlier), content);
  const taken = lockstep("restore", log.name, earlier);
  assert.equal(taken.status, 1);
  assert.match(taken.stderr, /DEST_EXISTS/);
  const words = lockstep("restore", "--force", log.name, earlier);
  assert.match(words.stdout, /verified and sound\nthe old database is now [\s\S]*position 1\//);

  const promoted = lockstepJson("promote", dest);
  assert.equal(promoted.json.timeline, 2);
  assert.equal(lockstep("promote", dest).status, 2, "no stream is on record any more");
});

test("follow goes on until a signal, and says where it stands", async (t) => {
  const w = await world(t);
  const child = spawn(process.execPath, [main, "follow", "--json", w.log.name, w.dest]);
  t.after(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value as string);
  assert.equal((await next()).event, "in-step");
  await w.writer.run(insert(5));
  const wanted = formatPosition(w.writer.position);
  child.kill("SIGTERM"); // what is there when it is stopped may be in the copy, or come at the next start
  for (;;) {
    const { event, position } = await next();
    if (event !== "stopped") continue;
    assert.match(position, /^1\//);
    break;
  }
  const [code] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
  assert.equal(code, 0);
  const { stdout } = lockstep("follow", "--once", "--json", w.log.name, w.dest);
  assert.equal(JSON.parse(stdout.trim().split("\n").at(-1) as string).position, wanted);
  await assertEqual(w);
});

test("wrong use", async (t) => {
  const w = await world(t);
  const wrong = (args: string[], message: RegExp): void => {
    const { status, stderr } = lockstep(...args);
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  };
  wrong(["follow", w.log.name], /takes a stream and a path/);
  wrong(["follow", w.dest, w.dest], /is no stream/);
  wrong(["follow", "--keys", "env:LOCKSTEP_NO_SUCH", w.log.name, w.dest], /it is not set/);
  wrong(["promote"], /promote takes/);
  wrong(["promote", w.dest], /no stream on record/);
  wrong(["restore", "--at", "yesterday", w.log.name, w.dest], /neither a position nor a moment/);
  wrong(["restore", "--at", "2026-01-01T00:00:00Z", w.dest, w.dest], /are for streams/);
  const missing = lockstep("follow", "--once", `archive:${w.dest}-none`, w.dest);
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /REPLICA_GONE/);
  assert.equal(fs.existsSync(w.dest), false);
});

test("init makes an archive, once", async (t) => {
  const w = await world(t);
  const directory = `${w.archive}-2`;
  assert.equal(lockstepJson("init", `archive:${directory}`).json.place, `archive:${directory}`);
  assert.equal(lockstep("init", `archive:${directory}`).status, 0);
  assert.equal(lockstep("init", "--replicas", "3", `archive:${directory}`).status, 2);
});
