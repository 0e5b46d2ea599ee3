/** What the commands say of streams. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Streamed } from "./streamed.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

function lockstep(...args: string[]) {
  return spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
}

test("status: in step, and behind once the primary went on without it", async (t) => {
  const streamed = await Streamed.make(t);
  await streamed.life((db) => streamed.put(db, 3));
  const relation = () => {
    const { stdout } = lockstep("status", "--json", streamed.primary, streamed.address);
    const { primary, replicas } = JSON.parse(stdout);
    return [replicas[0].path, replicas[0].relation, replicas[0].position === primary.position];
  };
  assert.deepEqual(relation(), [streamed.address, "in-step", true]);
  const alone = streamed.open({ replicas: [path.join(streamed.root, "file.db")] });
  streamed.put(alone, 3);
  alone.close();
  assert.deepEqual(relation(), [streamed.address, "behind", false]);
});

test("commands that take files say so", () => {
  for (const command of ["sync", "scrub", "drill", "verify", "replicate"]) {
    const { status, stderr } = lockstep(command, "/nowhere/a.db", "nats://app:secret@host/name");
    assert.equal(status, 2, command);
    assert.match(stderr, /takes files, and nats:\/\/host:4222\/name is a stream/);
    assert.doesNotMatch(stderr, /secret/);
  }
});
