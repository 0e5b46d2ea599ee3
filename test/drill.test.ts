// Goal: a drill says "proven" of a replica that restores to what the primary holds, and of no other;
//   it leaves primary and replica as they were, but for what came of it, and nothing else behind.
// Method: copies made by the drop-in; canaries damage the replica, the expectations and the disk; a
//   writer goes on meanwhile; signals in the middle of a query that never ends.
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import * as sqlite from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { type DrillReport, drill } from "../src/drill.ts";
import { codes, type LockstepError } from "../src/errors.ts";
import { type Proof, proofPath } from "../src/lineage/proof.ts";
import { status } from "../src/status.ts";
import { type Json, lockstep, lockstepJson, main } from "./cli/lockstep.ts";
import { ADD_ONE, Pair, plain } from "./cli/pair.ts";
import { startWriter } from "./cli/writer.ts";
import { type Call, Faults, type Rule, skip } from "./faults/shim.ts";
import { scratch } from "./scratch.ts";
import { assertAtRest } from "./support/files.ts";
import { flip } from "./support/rot.ts";

const failsWith = (code: string) => (error: LockstepError) => error.code === code;

/** A query that never ends. */
const FOREVER =
  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

/** The files in both directories, but for the proof. */
function contents({ primary, replica }: Pair): Record<string, string>[] {
  return [primary, replica].map((file) =>
    Object.fromEntries(
      fs
        .readdirSync(path.dirname(file), { withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.name.includes("-lockstep-proof"))
        .map(({ parentPath, name }) => [name, fs.readFileSync(path.join(parentPath, name), "hex")]),
    ),
  );
}

async function proofOf({ primary, replica }: Pair): Promise<Partial<Proof> | null> {
  const { replicas } = await status(primary, [replica]);
  return replicas[0]?.lastProof ?? null;
}

/** The last page of a table that no writer touches. */
function quietPage(file: string, owner = "entry"): number {
  const db = new sqlite.DatabaseSync(`${pathToFileURL(file).href}?immutable=1`, { readOnly: true });
  const row = db.prepare("SELECT max(pageno) AS page FROM dbstat WHERE name=?").get(owner);
  db.close();
  return Number(row?.["page"]);
}

function leftovers(directory: string): string[] {
  return fs.readdirSync(directory).filter((name) => name.includes("-lockstep-drill-"));
}

describe("proven", () => {
  test("at rest: 0, the shape of --json, status shows it, nothing else is left", async (t) => {
    const pair = new Pair(t).replicate(ADD_ONE);
    assert.equal(await proofOf(pair), null);
    const { stdout } = lockstep("status", pair.primary, pair.replica);
    assert.match(stdout, /^ {2}proof {5}none yet: lockstep drill /m);
    const before = contents(pair);

    const expected = "SELECT count(*) = 501 FROM entry";
    const args = ["drill", pair.primary, pair.replica, "--expect", expected];
    const { status: exit, json } = lockstepJson(...args);
    assert.deepEqual([exit, json.proven, json.replicas.length], [0, true, 1]);
    const [report] = json.replicas as [DrillReport];
    assert.deepEqual(Object.keys(report).sort(), [
      ...["at", "different", "differing", "expectations", "integrity", "pageSize", "pages"],
      ...["position", "primary", "proven", "replica", "seconds", "why"],
    ]);
    const { position } = lockstepJson("status", pair.primary, pair.replica).json.primary;
    const { pages, seconds, at, expectations, ...rest } = report;
    assert.deepEqual(rest, {
      ...{ primary: pair.primary, replica: pair.replica, proven: true, why: null, position },
      ...{ pageSize: 4096, differing: 0, different: [], integrity: "ok" },
    });
    assert.equal(pages * 4096, fs.statSync(pair.replica).size);
    assert.deepEqual(Object.keys(seconds).sort(), [
      ...["compare", "copy", "expectations", "integrity", "total"],
    ]);
    const [{ seconds: _, ...outcome }] = expectations as [DrillReport["expectations"][number]];
    assert.deepEqual(outcome, { sql: expected, holds: true, error: null });

    assert.deepEqual(contents(pair), before);
    assert.deepEqual(await proofOf(pair), { at, proven: true, position, why: null, provenAt: at });
    const text = lockstep("status", pair.primary, pair.replica).stdout;
    assert.ok(text.includes(`\n  proof     ${at} it restored, at ${position}\n`), text);
    assertAtRest(pair.primary, [pair.replica]);
  });

  test("as text, by a DSN, several replicas; one that fails does not keep the next from it", (t) => {
    const pair = new Pair(t);
    const third = pair.path("third");
    plain(third, "CREATE TABLE other(x)");
    pair.replicate(ADD_ONE);
    const all = [`sqlite3://${pair.primary}:${third}`, pair.replica];
    const { status: exit, stdout } = lockstep("drill", ...all);
    assert.equal(exit, 1);
    assert.match(stdout, new RegExp(`^NOT PROVEN: ${third}: \\d+ of \\d+ pages differ`, "m"));
    assert.match(stdout, new RegExp(`^proven: ${pair.replica} restores\n {2}copied {5}\\S`, "m"));
    const gone = lockstepJson("drill", pair.primary, `${third}.gone`, pair.replica);
    assert.deepEqual([gone.status, gone.json.proven], [1, false]);
    const [first, second] = gone.json.replicas;
    assert.deepEqual(Object.keys(first), ["primary", "replica", "proven", "error"]);
    assert.deepEqual([first.proven, first.error.code], [false, codes.NOT_A_DATABASE]);
    assert.equal(second.proven, true);
    assert.equal(lockstep("drill", pair.primary, pair.replica).status, 0);
  });

  test("while an application writes, checkpoints included; it does not notice", async (t) => {
    const pair = new Pair(t).replicate();
    const writer = await startWriter(t, pair.primary, pair.replica);
    const positions = new Set<string | null>();
    for (let i = 0; i < 4; i++) {
      const expect = ["SELECT count(*) = 500 FROM entry"];
      const report = await drill(pair.primary, pair.replica, { expect });
      assert.equal(report.proven, true, JSON.stringify(report));
      positions.add(report.position);
    }
    assert.equal(positions.size, 4, "each at a position of its own");
    assert.ok((await writer.end()) > 0);
    assert.equal((await proofOf(pair))?.proven, true);
    assert.deepEqual(leftovers(path.dirname(pair.replica)), []);
    assertAtRest(pair.primary, [pair.replica]);
  });

  test("copies that a crash left, their logs stay", async (t) => {
    const pair = new Pair(t).replicate();
    const writer = await startWriter(t, pair.primary, pair.replica);
    const ended = once(writer.child, "close");
    writer.child.kill("SIGKILL");
    await ended;
    for (const copy of [pair.primary, pair.replica]) fs.rmSync(`${copy}-shm`); // as after a reboot
    const before = contents(pair);
    // The last commit may be on the primary alone.
    const report = await drill(pair.primary, pair.replica);
    assert.equal(report.integrity, "ok");
    assert.deepEqual(contents(pair), before);
    const db = lockstep("sync", pair.primary, pair.replica);
    assert.equal(db.status, 0, db.stderr);
    assert.equal((await drill(pair.primary, pair.replica)).proven, true);
    assertAtRest(pair.primary, [pair.replica]);
  });

  test("in a directory of its own, with --scratch", (t) => {
    const pair = new Pair(t).replicate();
    const directory = scratch(t);
    fs.chmodSync(path.dirname(pair.replica), 0o755);
    const args = ["drill", pair.primary, pair.replica, "--scratch", directory];
    assert.equal(lockstep(...args).status, 0);
    assert.deepEqual(fs.readdirSync(directory), []);
    const { status: exit, json } = lockstepJson(...args.slice(0, -1), `${directory}/none`);
    assert.deepEqual([exit, json.error.code], [2, codes.BAD_OPTION]);
  });
});

describe("canaries", () => {
  test("a flipped byte in the replica: 1, page and owner, and when it was last proven", async (t) => {
    const pair = new Pair(t).replicate();
    const proven = lockstepJson("drill", pair.primary, pair.replica).json.replicas[0];
    const page = quietPage(pair.replica);
    flip(pair.replica, { at: page * 4096 - 5, bit: 4 });
    const { status: exit, stdout } = lockstep("drill", pair.primary, pair.replica);
    assert.equal(exit, 1);
    const why = new RegExp(
      `^NOT PROVEN: .*: 1 of \\d+ pages differ.*, page ${page} of entry$`,
      "m",
    );
    assert.match(stdout, why);
    assert.match(stdout, new RegExp(`^ {2}different {2}page ${page} of entry$`, "m"));
    const proof = await proofOf(pair);
    assert.deepEqual([proof?.proven, proof?.provenAt], [false, proven.at]);
    assert.match(String(proof?.why), new RegExp(`page ${page} of entry$`));
    const text = lockstep("status", pair.primary, pair.replica).stdout;
    assert.match(text, new RegExp(`IT DID NOT RESTORE: 1 of .*; last proven ${proven.at}$`, "m"));
  });

  test("a flipped byte while an application writes", async (t) => {
    const pair = new Pair(t).replicate();
    await startWriter(t, pair.primary, pair.replica);
    const page = quietPage(pair.primary);
    flip(pair.replica, { at: page * 4096 - 5, bit: 4 });
    // The writer may notice it, too, and stop: then the replica lacks what was not acknowledged.
    const { proven, different } = await drill(pair.primary, pair.replica);
    assert.equal(proven, false);
    assert.deepEqual(
      different.find((each) => each.page === page),
      { page, owner: "entry" },
    );
  });

  test("equal damage in both: integrity_check tells", async (t) => {
    const pair = new Pair(t).replicate();
    const page = quietPage(pair.replica, "by_text");
    for (const file of [pair.primary, pair.replica])
      flip(file, { at: (page - 1) * 4096 + 3, bit: 4 });
    const report = await drill(pair.primary, pair.replica);
    assert.deepEqual([report.proven, report.differing], [false, 0]);
    assert.notEqual(report.integrity, "ok");
    assert.equal(report.why, `integrity_check: ${report.integrity.split("\n")[0]}`);
  });

  test("a replica that begins like no database: NOT_A_DATABASE, on record", async (t) => {
    const pair = new Pair(t).replicate();
    flip(pair.replica, { at: 3, bit: 4 });
    const drilled = drill(pair.primary, pair.replica);
    await assert.rejects(drilled, failsWith(codes.NOT_A_DATABASE));
    assert.deepEqual(leftovers(path.dirname(pair.replica)), []);
    const { proven, why } = JSON.parse(fs.readFileSync(proofPath(pair.replica), "utf8"));
    assert.deepEqual([proven, why], [false, "The file does not begin like a SQLite database"]);
  });

  test("one file, no file: nothing is put on record", async (t) => {
    const pair = new Pair(t);
    await assert.rejects(drill(pair.primary, pair.primary), failsWith(codes.BAD_OPTION));
    await assert.rejects(drill(pair.primary, pair.replica), failsWith(codes.NOT_A_DATABASE));
    assert.deepEqual(fs.readdirSync(path.dirname(pair.primary)), ["app.db"]);
    assert.deepEqual(fs.readdirSync(path.dirname(pair.replica)), []);
  });
});

describe("expectations", () => {
  /** Which statements held, and what SQLite said. */
  async function outcomes(
    t: TestContext,
    ...expect: string[]
  ): Promise<[boolean, string | null][]> {
    const pair = new Pair(t).replicate();
    const { expectations, proven } = await drill(pair.primary, pair.replica, { expect });
    assert.equal(
      proven,
      expectations.every(({ holds }) => holds),
    );
    return expectations.map(({ holds, error }) => [holds, error]);
  }

  const hold = [
    "SELECT 1",
    "SELECT 0.5",
    "SELECT '2 and more'",
    "SELECT 9223372036854775807",
    "SELECT 2, 0",
    "SELECT 0 UNION ALL SELECT 1",
  ];
  const fail = [
    'SELECT 0 AS first, 1 AS "1"',
    "SELECT 0",
    "SELECT NULL",
    "SELECT 'text'",
    "SELECT 1 WHERE 0",
  ];
  for (const [statements, holds] of [
    [hold, true],
    [fail, false],
  ] as const) {
    test(`${holds ? "hold" : "do not hold"}: ${statements.join("; ")}`, async (t) => {
      const expected = statements.map(() => [holds, null]);
      assert.deepEqual(await outcomes(t, ...statements), expected);
    });
  }

  test("one that does not hold among those that do is enough", async (t) => {
    const expected = [true, false, true].map((holds) => [holds, null]);
    assert.deepEqual(await outcomes(t, "SELECT 1", "SELECT 0", "SELECT 2"), expected);
  });

  test("one that fails: 1, and on record", async (t) => {
    const pair = new Pair(t).replicate();
    const args = ["drill", pair.primary, pair.replica, "--expect", "SELECT 1"];
    const { status: exit, stdout } = lockstep(
      ...args,
      "--expect",
      "SELECT count(*) > 999 FROM entry;",
    );
    assert.equal(exit, 1);
    assert.match(stdout, /^ {2}expected {3}SELECT 1: holds, in /m);
    assert.match(
      stdout,
      /^ {2}expected {3}SELECT count\(\*\) > 999 FROM entry: DOES NOT HOLD, in /m,
    );
    assert.equal((await proofOf(pair))?.why, "not as expected: SELECT count(*) > 999 FROM entry");
  });

  test("a statement that would write fails, and writes nothing", async (t) => {
    const [[holds, error]] = (await outcomes(t, "DELETE FROM entry")) as [[boolean, string]];
    assert.equal(holds, false);
    assert.match(error, /readonly/);
  });

  test("bad SQL: 2 before anything is copied, nothing on record", (t) => {
    const pair = new Pair(t).replicate();
    for (const sql of ["SELEC 1", "SELECT 1; SELECT x FROM nowhere", "", "/* nothing */"]) {
      const { status: exit, json } = lockstepJson(
        "drill",
        pair.primary,
        pair.replica,
        "--expect",
        sql,
      );
      assert.deepEqual([exit, json.error.code], [2, codes.BAD_OPTION], sql);
    }
    assert.equal(fs.existsSync(proofPath(pair.replica)), false);
    assert.deepEqual(leftovers(path.dirname(pair.replica)), []);
  });

  test("a file of several, with comments", (t) => {
    const pair = new Pair(t).replicate();
    const file = path.join(scratch(t), "expect.sql");
    fs.writeFileSync(
      file,
      "-- all of them;\nSELECT count(*) = 500 FROM entry;\n\n/* é; */ SELECT 'é;' = 'é;'; -- end\n",
    );
    const args = ["drill", pair.primary, pair.replica, "--expect-file"];
    const { status: exit, json } = lockstepJson(...args, file);
    assert.equal(exit, 0);
    assert.deepEqual(
      json.replicas[0].expectations.map(({ sql }: Json) => sql),
      ["SELECT count(*) = 500 FROM entry", "SELECT 'é;' = 'é;'"],
    );
    assert.equal(lockstep(...args, `${file}.gone`).status, 2);
  });
});

describe("no room", () => {
  test("found before anything is copied: NO_ROOM", async (t) => {
    const pair = new Pair(t).replicate();
    const { bavail, bsize } = fs.statfsSync(pair.directory);
    const huge = bavail * bsize + 2 ** 30;
    try {
      fs.truncateSync(pair.replica, huge); // a hole: only its size matters here
    } catch {
      return t.skip("this file system makes no file of that size");
    }
    await assert.rejects(drill(pair.primary, pair.replica), failsWith(codes.NO_ROOM));
    assert.deepEqual(leftovers(path.dirname(pair.replica)), []);
    assert.equal(fs.existsSync(proofPath(pair.replica)), false);
  });
});

describe("a disk that fails", { skip }, () => {
  const EIO = { error: "EIO" } as const;

  function drillWith(t: TestContext, pair: Pair, ...rules: Rule[]): { json: Json; calls: Call[] } {
    const faults = new Faults(pair.directory, scratch(t));
    faults.set(...rules);
    const args = [main, "drill", "--json", pair.primary, pair.replica];
    const env = { ...process.env, ...faults.env };
    const { stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8" });
    assert.notEqual(stdout, "", stderr);
    return { json: JSON.parse(stdout), calls: faults.record() };
  }

  test("it is full while the copy is written: NO_ROOM, nothing on record", async (t) => {
    const pair = new Pair(t).replicate();
    const does = { error: "ENOSPC" } as const;
    const { json } = drillWith(t, pair, { on: "write", path: "*/restored.db", does });
    assert.equal(json.replicas[0].error.code, codes.NO_ROOM);
    assert.equal(await proofOf(pair), null);
    assert.deepEqual(leftovers(path.dirname(pair.replica)), []);
  });

  test("the replica cannot be read: what the system says, on record", async (t) => {
    const pair = new Pair(t).replicate();
    const { json } = drillWith(t, pair, { on: "read", path: "backup/app.db", does: EIO });
    assert.equal(json.error.code, "EIO");
    const { proven, why } = (await proofOf(pair)) ?? {};
    assert.equal(proven, false);
    assert.match(String(why), /EIO/);
  });

  test("the outcome cannot be put on record: REPLICA_IO, and says that it is proven", (t) => {
    const pair = new Pair(t).replicate();
    const { json } = drillWith(t, pair, { on: "write", path: "*-lockstep-proof-*", does: EIO });
    const { error } = json.replicas[0];
    assert.equal(error.code, codes.REPLICA_IO);
    assert.match(error.state, /^The replica restores/);
    const left = fs.readdirSync(path.dirname(pair.replica)).filter((name) => /proof/.test(name));
    assert.deepEqual(left, []);
  });

  test("the outcome is synced before it has its name, and the name after", async (t) => {
    const pair = new Pair(t).replicate();
    const { json, calls } = drillWith(t, pair);
    assert.equal(json.proven, true);
    const ours = calls.filter(({ path: file }) => /-lockstep-proof|^backup$/.test(file));
    const kinds = ours.map(({ kind }) => kind).filter((kind) => /write|sync|rename/.test(kind));
    assert.deepEqual(kinds, ["write", "sync", "rename", "sync"]);
  });
});

describe("cut off", () => {
  interface Running {
    readonly child: ChildProcess;
    readonly ended: Promise<unknown[]>;
  }

  /** A drill in the middle of an expectation that never ends. */
  async function endless(pair: Pair): Promise<Running> {
    const args = [main, "drill", pair.primary, pair.replica, "--expect", FOREVER];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
    const ended = once(child, "close");
    let said = "";
    for await (const text of child.stderr as AsyncIterable<Buffer>) {
      said += text;
      if (said.includes("expectations ")) break;
    }
    assert.match(said, /^copy .*\n(?:.*\n)*integrity_check .*\nexpectations /);
    return { child, ended };
  }

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    test(`${signal}: the copy is removed, nothing is put on record`, async (t) => {
      const pair = new Pair(t).replicate();
      const before = contents(pair);
      const { child, ended } = await endless(pair);
      assert.equal(leftovers(path.dirname(pair.replica)).length, 1);
      child.kill(signal);
      assert.deepEqual(await ended, [null, signal]);
      assert.deepEqual(contents(pair), before);
      assert.equal(await proofOf(pair), null);
    });
  }

  test("SIGKILL: the replica is as it was; the next drill removes the copy", async (t) => {
    const pair = new Pair(t).replicate();
    const before = contents(pair);
    const { child, ended } = await endless(pair);
    const directory = path.dirname(pair.replica);
    const left = leftovers(directory);
    assert.equal(left.length, 1);
    child.kill("SIGKILL");
    await ended; // its process for the work has ended, too: it held the same stderr
    assert.deepEqual(contents(pair), before);
    fs.mkdirSync(path.join(directory, "app.db-lockstep-drill-elsewhere-1-abcdef"));
    assert.equal(lockstep("drill", pair.primary, pair.replica).status, 0);
    assert.deepEqual(leftovers(directory), ["app.db-lockstep-drill-elsewhere-1-abcdef"]);
  });

  test("an application's signal: the reason, and no copy", async (t) => {
    const pair = new Pair(t).replicate();
    const controller = new AbortController();
    const drilled = drill(pair.primary, pair.replica, {
      expect: [FOREVER],
      signal: controller.signal,
      onProgress: ({ phase }) => {
        if (phase === "expect") controller.abort(new Error("enough"));
      },
    });
    await assert.rejects(drilled, /^Error: enough$/);
    assert.deepEqual(leftovers(path.dirname(pair.replica)), []);
  });
});

describe("a proof is of one copy", () => {
  test("not of the one that took its place; it goes with the one that was set aside", async (t) => {
    const pair = new Pair(t).replicate();
    assert.equal(lockstep("drill", pair.primary, pair.replica).status, 0);
    plain(pair.replica, ADD_ONE);
    const { json } = lockstepJson("sync", "--from", "primary", pair.primary, pair.replica);
    assert.equal(await proofOf(pair), null);
    assert.equal(fs.existsSync(proofPath(pair.replica)), false);
    const [{ lastProof }] = lockstepJson("status", pair.primary, json.setAside).json.replicas;
    assert.equal(lastProof.proven, true);
  });

  test("one that makes no sense counts as none", async (t) => {
    const pair = new Pair(t).replicate();
    assert.equal(lockstep("drill", pair.primary, pair.replica).status, 0);
    const sound = JSON.parse(fs.readFileSync(proofPath(pair.replica), "utf8"));
    for (const change of [{ format: 2 }, { copyId: "x" }, { at: 1 }, { proven: 1 }, { why: 1 }]) {
      fs.writeFileSync(proofPath(pair.replica), JSON.stringify({ ...sound, ...change }));
      assert.equal(await proofOf(pair), null, JSON.stringify(change));
    }
    for (const text of ["", "{", "null", "7", "[]"]) {
      fs.writeFileSync(proofPath(pair.replica), text);
      assert.equal(await proofOf(pair), null, text);
    }
    fs.writeFileSync(proofPath(pair.replica), JSON.stringify(sound));
    assert.equal((await proofOf(pair))?.proven, true);
  });
});
