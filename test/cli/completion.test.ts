// Goal: each shell completes commands, a command's options, and files where neither is meant.
// Method: the real shells, asked as they ask when somebody presses the tabulator.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { scratch } from "../scratch.ts";
import { lockstep, lockstepJson } from "./lockstep.ts";

const has = (shell: string): string | false =>
  spawnSync(shell, ["-c", "exit 0"]).status === 0 ? false : `there is no ${shell}`;

/** Runs a script in a shell, in a directory with one database in it. */
function inShell(t: TestContext, shell: string, flags: string[], script: string): string[] {
  const cwd = scratch(t);
  fs.writeFileSync(path.join(cwd, "app.db"), "");
  const { status, stdout, stderr } = spawnSync(shell, [...flags, "-c", script], {
    cwd,
    encoding: "utf8",
  });
  assert.deepEqual([status, stderr], [0, ""], `${stdout}${stderr}`);
  return stdout.split(/\s+/).filter((word) => word !== "");
}

const all = [
  "replicate",
  "sync",
  "status",
  "verify",
  "drill",
  "scrub",
  "restore",
  "init",
  "follow",
  "promote",
  "bench",
  "completion",
];

describe("bash", { skip: has("bash") }, () => {
  /** What the line is completed to. */
  function complete(t: TestContext, ...line: string[]): string[] {
    const script = `${lockstep("completion", "bash").stdout}
      COMP_WORDS=(${line.map((word) => `'${word}'`).join(" ")}) COMP_CWORD=${line.length - 1}
      _lockstep
      echo "\${COMPREPLY[@]}"`;
    return inShell(t, "bash", ["--norc"], script);
  }

  test("commands", (t) => {
    assert.deepEqual(complete(t, "lockstep", "").sort(), all.toSorted());
    assert.deepEqual(complete(t, "lockstep", "s").sort(), ["scrub", "status", "sync"]);
    assert.deepEqual(complete(t, "lockstep", "--v"), ["--version"]);
  });

  test("a command's options; else nothing, so the shell names files", (t) => {
    const drill = ["--expect", "--expect-file"];
    assert.deepEqual(complete(t, "lockstep", "drill", "a.db", "--exp").sort(), drill);
    assert.deepEqual(complete(t, "lockstep", "status", "--q"), ["--quiet"]);
    assert.deepEqual(complete(t, "lockstep", "status", "a"), []);
    assert.deepEqual(complete(t, "lockstep", "nothing", "--"), []);
  });

  test("the shells that there are", (t) => {
    assert.deepEqual(complete(t, "lockstep", "completion", "z"), ["zsh"]);
  });
});

test("zsh takes the script", { skip: has("zsh") }, (t) => {
  const script = `autoload -U compinit; compinit -u -D; ${lockstep("completion", "zsh").stdout}
    echo $_comps[lockstep] $+functions[_lockstep]`;
  assert.deepEqual(inShell(t, "zsh", ["-f"], script), ["_lockstep", "1"]);
});

describe("fish", { skip: has("fish") }, () => {
  const complete = (t: TestContext, line: string): string[] => {
    const script = `${lockstep("completion", "fish").stdout}\ncomplete -C '${line}'`;
    return inShell(t, "fish", ["--no-config"], script);
  };

  test("commands, options, files", (t) => {
    assert.deepEqual(complete(t, "lockstep ").sort(), all.toSorted());
    assert.deepEqual(complete(t, "lockstep drill --exp").sort(), ["--expect", "--expect-file"]);
    assert.deepEqual(complete(t, "lockstep status ap"), ["app.db"]);
    assert.deepEqual(complete(t, "lockstep completion z"), ["zsh"]);
  });
});

test("another shell, or none: 2", () => {
  for (const args of [[], ["tcsh"], ["bash", "zsh"]]) {
    assert.equal(lockstep("completion", ...args).status, 2);
  }
  const { json } = lockstepJson("completion", "fish");
  assert.equal(`${json.script}\n`, lockstep("completion", "fish").stdout);
});
