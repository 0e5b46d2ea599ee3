/** Where no server is to be had, what needs one is skipped and says why; under CI it fails. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scratch } from "../scratch.ts";

test("without a server tests say so, and under CI they fail", (t) => {
  // Elsewhere, where nothing was fetched before, and nothing can be.
  const support = path.join(scratch(t), "test/support");
  fs.mkdirSync(support, { recursive: true });
  const copy = path.join(support, "nats-binary.ts");
  fs.copyFileSync(path.join(import.meta.dirname, "../support/nats-binary.ts"), copy);
  const script = `import(${JSON.stringify(copy)}).then(({ withoutNats }) => console.log(withoutNats()))`;
  const run = (CI: string) =>
    spawnSync(process.execPath, ["--no-warnings", "-e", script], {
      encoding: "utf8",
      env: { PATH: path.join(support, "nothing"), CI },
    });
  const why = /no nats-server >= 2\.14\.0: none on the PATH, and Debian's could not be fetched/;
  const alone = run("");
  assert.equal(alone.status, 0, alone.stderr);
  assert.match(alone.stdout, why);
  const underCI = run("1");
  assert.notEqual(underCI.status, 0);
  assert.match(underCI.stderr, why);
});
