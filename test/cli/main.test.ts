import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Io, type Output } from "../../src/cli/io.ts";
import { suggest } from "../../src/cli/suggest.ts";
import { unknownOption } from "../../src/cli/usage.ts";
import { codes, LockstepError } from "../../src/errors.ts";
import { scratch } from "../scratch.ts";
import { lockstep, lockstepJson, main } from "./lockstep.ts";
import { ADD_ONE, Pair, plain } from "./pair.ts";

const commands = ["replicate", "sync", "status", "verify", "drill", "scrub", "restore"];

describe("usage", () => {
  test("--help and --version: 0, on stdout", () => {
    const help = lockstep("--help");
    assert.deepEqual([help.status, help.stderr], [0, ""]);
    for (const name of [...commands, "bench", "completion"])
      assert.match(help.stdout, new RegExp(`^  ${name} `, "m"));
    assert.match(help.stdout, /Exit status: 0 .*1 .*2 /);
    const { version } = createRequire(import.meta.url)("../../package.json");
    assert.equal(lockstep("--version").stdout, `${version}\n`);
  });

  for (const name of [...commands, "bench", "completion"]) {
    test(`${name} --help: 0, with synopsis, JSON shape, examples and exit status`, () => {
      const { status, stdout, stderr } = lockstep(name, "--help");
      assert.deepEqual([status, stderr], [0, ""]);
      assert.match(stdout, new RegExp(`^Usage: lockstep ${name} `));
      assert.match(stdout, /--json/);
      assert.match(stdout, new RegExp(`^Examples:\\n(?:  .+\\n)*  .*lockstep ${name} `, "m"));
      assert.match(stdout, /^Exit status: 0 .*1 .*2 wrong usage\.$/m);
    });
  }

  for (const name of commands) {
    test(`${name} without arguments: 2, with its usage on stderr`, () => {
      const { status, stdout, stderr } = lockstep(name);
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, new RegExp(`^Usage: lockstep ${name} `, "m"));
    });
  }

  test("no command, an unknown command, an unknown option, a malformed DSN: 2", () => {
    assert.equal(lockstep().status, 2);
    assert.match(
      lockstep("verfy", "a", "b").stderr,
      /^There is no command "verfy"\. Did you mean "verify"\?$/m,
    );
    assert.equal(lockstep("toString").status, 2);
    const mistyped = lockstep("verify", "--jsno", "a", "b");
    assert.equal(mistyped.status, 2);
    assert.match(mistyped.stderr, /^Unknown option '--jsno'.*\nDid you mean --json\?\n\nUsage: /);
    const { status, json } = lockstepJson("status", "sqlite3://a:%zz");
    assert.deepEqual([status, json.error.code], [2, codes.BAD_DSN]);
  });
});

test("an error with --json is one document on stdout", () => {
  const { status, json } = lockstepJson("verify", "/nowhere/a.db", "/nowhere/b.db");
  assert.equal(status, 1);
  assert.deepEqual(Object.keys(json.error), ["code", "copy", "what", "state", "next"]);
  assert.equal(json.error.code, codes.NOT_A_DATABASE);
  assert.equal(json.error.copy, "/nowhere/a.db");
});

test("no warning of an experimental SQLite reaches the terminal", () => {
  const { stderr } = lockstep("verify", "/nowhere/a.db", "/nowhere/b.db");
  assert.match(stderr, /^ERR_LOCKSTEP_NOT_A_DATABASE \/nowhere\/a\.db\n {2}what .*\n {2}state /);
  assert.doesNotMatch(stderr, /ExperimentalWarning/);
});

describe("progress", () => {
  const CLEAR = "\r\x1b[2K";

  function sink(isTTY: boolean): Output & { text: string } {
    return {
      text: "",
      isTTY,
      columns: 60,
      write(text: string) {
        this.text += text;
      },
    };
  }
  const work = (bytesDone: number) => ({
    ...{ what: "copy", bytesDone, bytesTotal: 2e6, bytesPerSecond: 1e6 },
  });

  test("on a terminal: one line, redrawn, ended before anything else is said", () => {
    const [out, err] = [sink(true), sink(true)];
    const io = new Io(out, err);
    io.progress(work(1e6));
    const [, drawn = ""] = err.text.split(CLEAR);
    assert.match(drawn, /^copy \[#+-+\] {2}50 % 1\.0 MB of 2\.0 MB, 1\.0 MB\/s$/);
    assert.ok(drawn.length < 60);
    io.note("next");
    assert.match(err.text, /\/s\nnext\n$/);
    io.progress(work(2e6));
    assert.match(err.text, /100 % 2\.0 MB of 2\.0 MB, 1\.0 MB\/s\n$/);
    assert.equal(out.text, "");
  });

  test("elsewhere: plain lines at the beginning and the end", () => {
    const err = sink(false);
    const io = new Io(sink(false), err);
    for (const done of [1, 2, 3, 2e6]) io.progress(work(done));
    assert.equal(err.text, "copy …\ncopy 2.0 MB of 2.0 MB, 1.0 MB/s\n");
  });

  test("work in steps names the one that is being done", () => {
    const err = sink(true);
    const io = new Io(sink(false), err);
    io.progress({ what: "measure", step: "plain", stepsDone: 1, stepsTotal: 4 });
    assert.match(err.text, /measure \[#+-+\] {2}25 % 1 of 4: plain$/);
  });
});

describe("suggestions", () => {
  const words = ["sync", "status", "verify", "restore", "--json", "--expect", "--expect-file"];
  for (const [word, meant] of [
    ["verfy", "verify"],
    ["verifyy", "verify"],
    ["vreify", "verify"],
    ["stauts", "status"],
    ["syn", "sync"],
    ["--expct", "--expect"],
    ["--expectfile", "--expect-file"],
    ["bench", null],
    ["x", null],
    ["", null],
  ] as const) {
    test(`"${word}": ${meant ?? "nothing is near"}`, () => {
      assert.equal(suggest(word, words), meant);
    });
  }

  test("the first option that help does not name, before a lone --", () => {
    const usage = "Usage: x [--from A]";
    assert.equal(unknownOption(["--from=b", "--json", "a-b", "--form=c"], usage), "--form");
    assert.equal(unknownOption(["--from", "x", "--", "--form"], usage), null);
  });
});

describe("--quiet", () => {
  test("nothing but the exit status; --json alone stays", (t) => {
    const { primary, replica } = new Pair(t).replicate();
    for (const quiet of ["--quiet", "-q"]) {
      const { status, stdout, stderr } = lockstep("verify", primary, quiet, replica);
      assert.deepEqual([status, stdout, stderr], [0, "", ""]);
    }
    const { status, stdout, stderr } = lockstep("verify", "--json", "-q", primary, replica);
    assert.deepEqual([status, stderr, JSON.parse(stdout).identical], [0, "", true]);
    plain(replica, ADD_ONE);
    const different = lockstep("verify", "--quiet", primary, replica);
    assert.deepEqual([different.status, different.stdout, different.stderr], [1, "", ""]);
  });

  test("errors and wrong use are said", () => {
    const failed = lockstep("verify", "--quiet", "/nowhere/a.db", "/nowhere/b.db");
    assert.deepEqual([failed.status, failed.stdout], [1, ""]);
    assert.match(failed.stderr, /^ERR_LOCKSTEP_NOT_A_DATABASE /);
    assert.match(lockstep("verify", "--quiet").stderr, /^verify takes two paths\./);
  });

  test("no bar, no plain lines", () => {
    for (const isTTY of [true, false]) {
      let said = "";
      const io = new Io({ write: () => {} }, { isTTY, write: (text: string) => (said += text) });
      io.quiet = true;
      io.progress({ what: "copy", bytesDone: 1, bytesTotal: 2, bytesPerSecond: 1 });
      io.note("check");
      assert.equal(said, "");
    }
  });
});

describe("color", () => {
  /** What a real terminal is shown of an error. Only these variables: Node.js asks many, `CI` too, for colors. */
  function shown(t: TestContext, variables: Record<string, string>): string {
    const env = { PATH: process.env.PATH, TERM: "xterm-256color", ...variables };
    const command = `"${process.execPath}" "${main}" verify /nowhere/a.db /nowhere/b.db`;
    const file = path.join(scratch(t), "typescript");
    spawnSync("script", ["-qec", command, file], { env, stdio: "ignore" });
    return fs.readFileSync(file, "utf8");
  }
  const hasScript = spawnSync("script", ["--version"], { encoding: "utf8" });
  const skip = /util-linux/.test(hasScript.stdout ?? "") ? false : "needs script of util-linux";

  test("an error's code stands out on a terminal, not with NO_COLOR or a dumb one", {
    skip,
  }, (t) => {
    const RED = "\x1b[31mERR_LOCKSTEP_NOT_A_DATABASE";
    assert.ok(shown(t, {}).includes(RED));
    for (const variables of [{ NO_COLOR: "1" }, { TERM: "dumb" }]) {
      const text = shown(t, variables);
      assert.match(text, /ERR_LOCKSTEP_NOT_A_DATABASE/);
      assert.ok(!text.includes("\x1b["), JSON.stringify(text));
    }
  });
});

test("an error says code, copy, what happened, the state and what to do", () => {
  let said = "";
  const io = new Io({ write: () => {} }, { write: (text: string) => (said += text) });
  const parts = { copy: "/a", what: "It broke", state: "It is whole", next: "Try again" };
  io.error(new LockstepError(codes.BUSY, parts));
  assert.equal(
    said,
    "ERR_LOCKSTEP_BUSY /a\n  what   It broke.\n  state  It is whole.\n  next   Try again.\n",
  );
});
