/** The systemd unit is one that systemd accepts. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scratch } from "./scratch.ts";

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
