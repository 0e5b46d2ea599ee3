/** The systemd unit is one that systemd accepts; the container's health check tells health. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { codes, LockstepError } from "../src/errors.ts";
import { scratch } from "./scratch.ts";
import { served } from "./serve/ask.ts";
import { Still } from "./serve/handle.ts";

const UNIT = path.join(import.meta.dirname, "../service/lockstep@.service");
const missing = spawnSync("systemd-analyze", ["--version"]).error;

function verify(file: string): { status: number | null; said: string } {
  const { status, stderr } = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
  return { status, said: stderr };
}

test("systemd accepts the unit", { skip: missing && "there is no systemd-analyze" }, (t) => {
  const unit = path.join(scratch(t), "lockstep@app.service");
  fs.copyFileSync(UNIT, unit);
  const { status, said } = verify(unit); // it may complain of other units
  assert.equal(status, 0, said);
  assert.doesNotMatch(said, /lockstep@/);

  // A canary: it would say so.
  fs.writeFileSync(unit, fs.readFileSync(UNIT, "utf8").replace("Type=notify", "Type=notfy"));
  assert.match(verify(unit).said, /notfy/);
});

test("the container's health check: well, unwell, nobody there", async (t) => {
  const dockerfile = fs.readFileSync(
    path.join(import.meta.dirname, "../service/Dockerfile"),
    "utf8",
  );
  const [, json = ""] = /^HEALTHCHECK .* CMD (\[.*\])$/m.exec(dockerfile) ?? [];
  const [command, ...args] = JSON.parse(json) as string[];
  assert.equal(command, "node");
  const check = (address: string): Promise<boolean> =>
    promisify(execFile)(process.execPath, args, {
      env: { ...process.env, LOCKSTEP_LISTEN: address },
    }).then(
      () => true,
      () => false,
    );
  const still = new Still();
  const server = await served(t, still.handle);
  assert.equal(await check(server.address), true);
  assert.equal(await check(server.address.replace("127.0.0.1", "0.0.0.0")), true);
  const failure = new LockstepError(codes.REPLICA_FULL, {
    ...{ copy: null, what: "Full", state: "Whole", next: "Make room" },
  });
  still.status = { ...still.status, failure };
  assert.equal(await check(server.address), false);
  await server.close();
  assert.equal(await check(server.address), false);
});

test("the container's recipe names what there is: the command, a Node.js that is new enough", () => {
  const read = (name: string): string =>
    fs.readFileSync(path.join(import.meta.dirname, "..", name), "utf8");
  const dockerfile = read("service/Dockerfile");
  const { bin, engines, name } = JSON.parse(read("package.json"));
  const [, command = ""] = /^ENTRYPOINT \["(\w+)", "replicate"\]$/m.exec(dockerfile) ?? [];
  assert.ok(command in bin);
  assert.ok(dockerfile.includes(`/tmp/${name}-*.tgz`));
  const least = Number(/\d+/.exec(engines.node)?.[0]);
  for (const [, version] of dockerfile.matchAll(/^FROM node:(\d+)/gm)) {
    assert.ok(Number(version) > least);
  }
});
