/** The servers' disk is full: a commit is not acknowledged, and once there is room again a start finds out, and goes on. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { create } from "../../src/stream/nats-admin.ts";
import { scratch } from "../scratch.ts";
import { startNats, withoutNats } from "../support/nats.ts";
import { soon } from "./messages.ts";
import { Streamed } from "./streamed.ts";

const skip = withoutNats() || withoutMounts();

test("three servers whose disk is full", { skip }, async (t) => {
  const disk = new SmallDisk(t, "40m");
  const cluster = await startNats(disk, { directory: disk.directory });
  const url = cluster.url("full", { monitor: cluster.monitor });
  await create(url, {}, soon());
  const streamed = new Streamed(fs.realpathSync(scratch(t)), url);
  const db = streamed.open({ replicaTimeout: 5000 });
  const failure = untilItFails(() => streamed.put(db, 1, 300_000));
  assert.match(String(failure.code), /^ERR_LOCKSTEP_(REPLICA_FULL|IN_DOUBT)$/, String(failure));
  const acknowledged = streamed.acknowledged;
  assert.ok(acknowledged > 3, "some had room");
  assert.throws(() => db.exec("SELECT 1"), { code: failure.code });
  db.close();

  mount("-o", "remount,size=400m", disk.directory);
  await cluster.stop(); // a server that could not write leaves its streams alone until it is started again
  await cluster.start();
  await streamed.life((again) => {
    const [row] = again.prepare("SELECT max(n) AS n FROM t").all();
    const found = Number(row?.["n"]);
    assert.ok(found === acknowledged || found === acknowledged + 1, `${found} of ${acknowledged}`);
    streamed.acknowledged = found;
    streamed.put(again, 3);
  });
});

function untilItFails(put: () => void): Error & { readonly code?: string } {
  for (let i = 0; i < 1000; i++) {
    try {
      put();
    } catch (error) {
      return error as Error;
    }
  }
  assert.fail("the disk has room for all of it");
}

/** A disk in memory. It ends with the test, once all has ended that was told to end before. */
class SmallDisk {
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-disk-"));
  readonly #ends: (() => unknown)[] = [];

  constructor(t: TestContext, size: string) {
    mount("-t", "tmpfs", "-o", `size=${size}`, "lockstep-test", this.directory);
    t.after(async () => {
      for (const end of this.#ends) await end();
      spawnSync("umount", ["-l", this.directory]);
      fs.rmdirSync(this.directory);
    });
  }

  after(end: () => unknown): void {
    this.#ends.push(end);
  }
}

function mount(...args: string[]): void {
  const { status, stderr } = spawnSync("mount", args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

function withoutMounts(): string | false {
  return process.platform === "linux" && process.getuid?.() === 0
    ? false
    : "to mount a small disk takes Linux and root";
}
