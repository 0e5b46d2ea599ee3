// Goal: `lockstep bench` measures every way and leaves nothing behind, however it ends. No test
//   asserts how long anything took.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { WriteStream } from "node:tty";
import { stripVTControlCharacters } from "node:util";
import { Disks } from "../../src/bench/disk.ts";
import { median, percentile } from "../../src/bench/figures.ts";
import { type BenchReport, bench } from "../../src/bench.ts";
import { type Canvas, chart } from "../../src/cli/chart.ts";
import { describe as describeReport } from "../../src/cli/commands/bench.ts";
import { Io } from "../../src/cli/io.ts";
import { table } from "../../src/cli/table.ts";
import { scratch } from "../scratch.ts";
import { lockstep, lockstepJson, main } from "./lockstep.ts";

const BARRIERS = ["barrier 1", "barrier 8", "barrier 64", "barrier 256"];

/** An empty directory for the primary, and one for a replica. */
function places(t: TestContext): [primary: string, replica: string] {
  const directory = fs.realpathSync(scratch(t));
  const [primary, replica] = ["primary", "replica"].map((name) => path.join(directory, name));
  for (const each of [primary, replica] as string[]) fs.mkdirSync(each);
  return [primary as string, replica as string];
}

function assertEmpty(...directories: string[]): void {
  for (const each of directories) assert.deepEqual(fs.readdirSync(each), [], each);
}

test("measures every way; the report as JSON; nothing is left behind", (t) => {
  const [primary, replica] = places(t);
  const where = ["--directory", primary, "--replica", replica];
  const { status, json } = lockstepJson("bench", ...where, "--seconds", "1");
  assert.equal(status, 0, JSON.stringify(json));
  assert.deepEqual(Object.keys(json), [
    ...["directories", "seconds", "rounds", "bytesPerCommit", "ways"],
  ]);
  const { inMemory, ...directories } = json.directories;
  assert.equal(typeof inMemory, "boolean");
  assert.deepEqual(directories, { primary, replicas: [replica], oneDisk: true });
  assert.deepEqual([json.seconds, json.rounds], [1, 2]);
  assert.ok(json.bytesPerCommit > 4096, "at least a frame");
  assert.deepEqual(
    (json as BenchReport).ways.map(({ way, callers }) => `${way} ${callers}`),
    ["plain 1", "databases 1", "commit 1", ...BARRIERS, "disk 1"],
  );
  for (const { way, callers, trials, ...figures } of (json as BenchReport).ways) {
    assert.deepEqual(Object.keys(figures), ["p50Ms", "p99Ms", "commitsPerSecond", "ratioToPlain"]);
    assert.equal(trials.length, json.rounds);
    for (const of of [figures, ...trials]) {
      for (const [name, value] of Object.entries(of)) {
        assert.ok(value > 0, `${way} ${callers}: ${name} is ${value}`);
      }
    }
    for (const { p50Ms, p99Ms, commits } of trials) {
      assert.ok(p50Ms <= p99Ms);
      assert.ok(commits >= callers, "each caller is counted");
    }
  }
  assert.equal(json.ways[0].ratioToPlain, 1);
  assertEmpty(primary, replica);
});

describe("however it ends, nothing is left behind", () => {
  test("a directory that is not there: 1", (t) => {
    const [primary, replica] = places(t);
    const missing = path.join(replica, "missing");
    const { status, json } = lockstepJson("bench", "--directory", primary, "--replica", missing);
    assert.deepEqual([status, json.error.code], [1, "ENOENT"]);
    assert.match(json.error.what, /missing/);
    assertEmpty(primary, replica);
  });

  test("an error in a child", async (t) => {
    const [primary, replica] = places(t);
    const work = bench({
      ...{ directory: primary, replicas: [replica], seconds: 1 },
      // The child's directory goes while it starts.
      onProgress: () =>
        void setImmediate(() => {
          const [made] = fs.readdirSync(primary);
          fs.rmSync(path.join(primary, made as string, "1"), { recursive: true });
        }),
    });
    await assert.rejects(work, {
      message: "unable to open database file",
      code: "ERR_SQLITE_ERROR",
    });
    assertEmpty(primary, replica);
  });

  test("a signal to abort, while a child works", async (t) => {
    const [primary, replica] = places(t);
    const controller = new AbortController();
    const work = bench({
      ...{ directory: primary, replicas: [replica], seconds: 600, signal: controller.signal },
      onProgress: () => void setTimeout(300).then(() => controller.abort(new Error("enough"))),
    });
    await assert.rejects(work, { message: "enough" });
    assertEmpty(primary, replica);
  });

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    test(`${signal}: it dies of it, after it has removed everything`, async (t) => {
      const [primary, replica] = places(t);
      const args = ["bench", "--directory", primary, "--replica", replica, "--seconds", "600"];
      const child = spawn(process.execPath, ["--no-warnings", main, ...args], { stdio: "ignore" });
      t.after(() => child.kill("SIGKILL"));
      const ended = once(child, "close");
      const working = (): boolean =>
        fs.readdirSync(primary, { recursive: true }).some((name) => String(name).endsWith("-wal"));
      while (!working() && child.exitCode === null) await setTimeout(20);
      child.kill(signal);
      assert.deepEqual(await ended, [null, signal]);
      assertEmpty(primary, replica);
    });
  }
});

test("what it does not understand: 2", () => {
  for (const args of [
    ["--seconds", "0"],
    ["--seconds", "soon"],
    ["--seconds", "601"],
    ["--rounds", "3"],
    ["somewhere"],
  ]) {
    const { status, stdout, stderr } = lockstep("bench", ...args);
    assert.deepEqual([status, stdout], [2, ""], args.join(" "));
    assert.match(stderr, /^Usage: lockstep bench /m);
  }
});

test("a disk that fails says what the system said", (t) => {
  const missing = path.join(scratch(t), "missing");
  assert.throws(() => new Disks([missing], 4096), { code: "ENOENT", message: /missing/ });
});

test("figures", () => {
  assert.equal(percentile([1, 2, 3, 4], 50), 3);
  assert.equal(percentile([1, 2, 3, 4], 99), 4);
  assert.equal(percentile([], 50), 0);
  assert.equal(median([9, 1, 2]), 2);
  assert.equal(median([4, 1]), 2.5);
});

test("a table: names to the left, figures to the right", () => {
  const rows = [
    ["", "p50"],
    ["plain", "1.5"],
    ["two", "12.25"],
  ];
  assert.deepEqual(table(rows), ["          p50", "plain     1.5", "two     12.25"]);
});

describe("the chart", () => {
  const terminal: Canvas = { columns: 40, terminal: true, color: false };
  const pipe: Canvas = { columns: 80, terminal: false, color: false };
  const bar = (label: string, value: number, ours = false) => ({
    ...{ label, value, figure: `${value}`, ours },
  });

  test("on a terminal: blocks, to an eighth of a column, never wider than it", () => {
    const lines = chart([bar("a", 1000), bar("bcd", 500), bar("e", 4)], terminal);
    // 40 columns: 3 of labels, 4 of figures, 4 of gaps; 29 are left.
    assert.deepEqual(lines, [
      `a    ${"█".repeat(29)} 1000`,
      `bcd  ${"█".repeat(14)}▌ 500`,
      "e    ▏ 4",
    ]);
    for (const columns of [20, 33, 80, 120]) {
      const [longest = ""] = chart([bar("a", 7)], { ...terminal, columns });
      assert.ok(longest.length < columns, `${longest.length} of ${columns}`);
    }
  });

  test("a very narrow terminal still shows bars, a very wide one no endless ones", () => {
    const widthAt = (columns: number): number =>
      /█+/.exec(chart([bar("a", 7)], { ...terminal, columns })[0] ?? "")?.[0].length ?? 0;
    assert.deepEqual([widthAt(1), widthAt(1000)], [8, 100]);
  });

  test("elsewhere: plain characters only", () => {
    const lines = chart([bar("a", 2), bar("b", 1, true)], pipe);
    assert.deepEqual(lines, [`a  ${"#".repeat(74)} 2`, `b  ${"#".repeat(37)} 1`]);
  });

  test("colors do not change the text, and ours stand out", () => {
    const bars = [bar("a", 2), bar("b", 1, true)];
    const colored = chart(bars, { ...terminal, color: true });
    assert.ok(colored[0]?.includes("\x1b[90m█"));
    assert.ok(colored[1]?.includes("\x1b[32m█"));
    assert.deepEqual(colored.map(stripVTControlCharacters), chart(bars, terminal));
  });

  test("nothing at all is drawn as nothing", () => {
    assert.deepEqual(chart([bar("a", 0)], terminal), ["a   0"]);
  });

  test("the canvas: the terminal's columns; colors unless NO_COLOR says no", (t) => {
    const { hasColors, getColorDepth } = WriteStream.prototype;
    const tty = { isTTY: true, columns: 123, write() {}, hasColors, getColorDepth };
    const before = { ...process.env };
    t.after(() => {
      process.env = before;
    });
    process.env = { TERM: "xterm-256color" };
    assert.deepEqual(new Io(tty).canvas, { columns: 123, terminal: true, color: true });
    process.env = { TERM: "xterm-256color", NO_COLOR: "1" };
    assert.deepEqual(new Io(tty).canvas, { columns: 123, terminal: true, color: false });
    assert.deepEqual(new Io({ write() {} }).canvas, pipe);
  });
});

describe("as text", () => {
  const figures = { p50Ms: 0.1234, p99Ms: 12.5, commitsPerSecond: 1234.5, trials: [] };
  const directories = { primary: "/a", replicas: ["/b"], oneDisk: false, inMemory: false };
  const report: BenchReport = {
    ...{ directories, seconds: 30, rounds: 3, bytesPerCommit: 8300 },
    ways: [
      { way: "plain", callers: 1, ratioToPlain: 1, ...figures },
      { way: "databases", callers: 1, ratioToPlain: 0.25, ...figures },
      { way: "barrier", callers: 8, ratioToPlain: 0.5, ...figures },
    ],
  };
  const text = (of: BenchReport): string =>
    describeReport(of, { columns: 80, terminal: false, color: false }).join("\n");

  test("where, the table, the chart", () => {
    const shown = text(report);
    assert.match(
      shown,
      /^primary {2}\/a\nreplica {2}\/b\ncommits of 8\.3 kB, medians of 3 rounds$/m,
    );
    assert.match(shown, /^ +p50 ms +p99 ms +commits\/s +to plain$/m);
    assert.match(shown, /^plain, one database +0\.123 +12\.500 +1235 +1\.00 x$/m);
    assert.match(shown, /^2 databases, one after the other +0.* +0\.25 x$/m);
    assert.match(shown, /^lockstep barrier, 8 callers +0\.123 +12\.500 +1235 +0\.50 x$/m);
    assert.match(shown, /^lockstep barrier, 8 callers +#+ 1235$/m);
    assert.doesNotMatch(shown, /ONE DISK|IN MEMORY/);
  });

  test("it says when copies are on one disk, or on none", () => {
    const where = (changes: Partial<BenchReport["directories"]>): string =>
      text({ ...report, directories: { ...directories, ...changes } });
    assert.match(where({ oneDisk: true }), /^BOTH COPIES ARE ON ONE DISK: /m);
    assert.match(where({ oneDisk: true, replicas: ["/b", "/c"] }), /^SOME COPIES ARE ON ONE DISK/m);
    assert.match(where({ inMemory: true }), /^IN MEMORY: /m);
  });
});
