/**
 * Goal: whatever bytes stand where a copy's files should be, and whatever an application gives for a
 * DSN or for options: no crash, no hang, no wrong acceptance, no write to anybody else's file.
 * Method: a little of `npm run fuzz`, and for each checker a canary that it has to catch.
 * Replay: npm run fuzz -- --target T --seed S
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { deserialize } from "node:v8";
import { parseDsn } from "../../src/dsn.ts";
import { decide } from "../../src/lineage/decide.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { readOptions } from "../../src/options.ts";
import { restore } from "../../src/restore.ts";
import { status } from "../../src/status.ts";
import { verify } from "../../src/verify.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { runSql } from "../support/files.ts";
import type { Scene } from "../support/scene.ts";
import { seed } from "../support/seed.ts";
import { fuzz, type Target } from "./fuzzer.ts";
import { commandsTarget } from "./targets/commands.ts";
import { decideTarget } from "./targets/decide.ts";
import { dsnTarget } from "./targets/dsn.ts";
import { indexTarget } from "./targets/index.ts";
import { logTarget } from "./targets/log.ts";
import { optionsTarget } from "./targets/options.ts";
import { recordTarget } from "./targets/record.ts";
import { startTarget } from "./targets/start.ts";
import { type TargetName, targetNames, withTarget } from "./targets.ts";

/** Where threads and processes do the work, a case takes longer. */
const SLOW: readonly TargetName[] = ["start", "commands"];

for (const name of targetNames) {
  test(`seed ${seed}: ${name}`, async () => {
    const ms = SLOW.includes(name) ? 3500 : 1200;
    const report = await withTarget(name, (target) => fuzz(target, { seed, ms }));
    assert.ok(report.cases > 1, "more than what is sound was tried");
  });
}

describe("canaries: it is noticed that", () => {
  async function noticed<T>(target: Target<T>, what: RegExp, cases = 3000): Promise<void> {
    await assert.rejects(fuzz(target, { seed: 1, cases }), what);
  }

  for (const [name, what] of [
    ["hang", /an input took more than 500 ms; it ended with SIGKILL/],
    ["crash", /it said nothing; it ended with SIG/],
  ] as const) {
    test(`an input ends in a ${name}, and it is kept`, () => {
      const run = path.join(import.meta.dirname, "run.ts");
      const args = [run, "--target", name, "--seconds", "1", "--hung", "500"];
      const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
      assert.equal(status, 1);
      assert.match(stdout, what);
      const kept = /--input (\S+)/.exec(stdout)?.[1] as string;
      assert.deepEqual(deserialize(fs.readFileSync(kept)), { name });
      fs.rmSync(kept);
    });
  }

  test("the log's scan leaves a commit out", (t) =>
    noticed(
      logTarget(t, (file, onCommit) => {
        const scan = scanLog(file, onCommit);
        return scan && { ...scan, commits: scan.commits.slice(0, -1) };
      }),
      /frames/,
    ));

  test("the log's scan takes what follows the end for committed", (t) =>
    noticed(
      logTarget(t, (file, onCommit) => {
        const scan = scanLog(file, onCommit);
        const last = scan?.commits.at(-1);
        const more = last ? [{ ...last, frame: last.frame + 1 }] : [];
        return scan && { ...scan, commits: [...scan.commits, ...more] };
      }),
      /frames/,
    ));

  test("any wal-index is taken for valid", (t) =>
    noticed(
      indexTarget(t, () => true),
      /valid for us, and for SQLite/,
    ));

  test("no wal-index is taken for valid", (t) =>
    noticed(
      indexTarget(t, () => false),
      /valid for SQLite, and for us/,
    ));

  test("a record is believed that is not whole", (t) =>
    noticed(
      recordTarget(t, (driver, copy) => {
        const found = readSidecar(driver, copy);
        return found && { ...found, state: { ...found.state, timeline: -1 } };
      }),
      /timeline/,
    ));

  test("a record ends in a TypeError", (t) =>
    noticed(
      recordTarget(t, () => {
        throw new TypeError("x is not a function");
      }),
      /x is not a function/,
    ));

  test("two copies are taken for one line that have parted", (t) =>
    noticed(
      decideTarget(t, (primary, replica) => {
        const decision = decide(primary, replica);
        return { ...decision, action: { do: "send" } };
      }),
      /what is older is in what is newer/,
    ));

  test("a DSN is read as something else", (t) =>
    noticed(
      dsnTarget(t, (text, platform) => {
        const read = parseDsn(text, platform);
        return { ...read, path: `${read.path}.` };
      }),
      /written down and read again/,
    ));

  test("an option is let through that is none", (t) =>
    noticed(
      optionsTarget(t, (options, inDsn) => {
        const read = readOptions(options, inDsn);
        return read && { ...read, replicaTimeout: 0 };
      }),
      /replicaTimeout/,
    ));

  test("a start loses a row in both copies", (t) =>
    noticed(
      startTarget(t, ({ copies }) => {
        for (const copy of copies) deleteRow(copy);
      }),
      /row 1 is in/,
      20,
    ));

  test("a start writes beside the copies", (t) =>
    noticed(startTarget(t, addStranger), /only the copies' own files/, 20));

  test("verify takes any two copies for equal", (t) =>
    noticed(
      commandsTarget(t, {
        ...{ status, restore },
        verify: async (...args) => ({ ...(await verify(...args)), identical: true }),
      }),
      /equal for us, and for SQLite/,
      200,
    ));

  test("a restore leaves a row out", (t) =>
    noticed(
      commandsTarget(t, {
        ...{ status, verify },
        async restore(replica, dest) {
          const report = await restore(replica, dest);
          deleteRow(dest);
          return report;
        },
      }),
      /DEST holds what SQLite reads/,
      200,
    ));
});

function deleteRow(copy: string): void {
  try {
    runSql(copy, "DELETE FROM t WHERE n = 1");
  } catch {
    // It is the damaged one.
  }
}

function addStranger({ root }: Scene): void {
  fs.writeFileSync(path.join(root, "main", "stranger"), "");
}
