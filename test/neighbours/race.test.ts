/**
 * Primaries that start at the same instant, in processes of their own, for one replica: exactly one gets
 * it, the others are told why not, and nothing is lost. `RUNS=200 SEED=S node --test` on this file is
 * the long version.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { test } from "node:test";
import { type DriverName, loadDriver } from "../../src/driver.ts";
import { LockstepError } from "../../src/errors.ts";
import { openHub } from "../../src/gate/open-hub.ts";
import { Random } from "../crash/random.ts";
import { scratch } from "../scratch.ts";
import { assertAtRest, readAtRest } from "../support/files.ts";
import { runs, seed } from "../support/seed.ts";

/** What a starter says: how its start went, then how many rows it committed. */
type Line = { outcome: string | null } | { rows: number };

class Starter {
  readonly primary: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(driver: DriverName, primary: string, replica: string) {
    this.primary = primary;
    const args = ["--no-warnings", import.meta.filename, driver, primary, replica];
    this.#child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#child.stdout as Readable)[Symbol.asyncIterator]();
  }

  async says<T extends Line | { ready: true }>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    assert.ok(!done, "the process lives");
    return JSON.parse(value) as T;
  }

  tell(what: string): void {
    this.#child.stdin?.write(`${what}\n`);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** One race for a replica; `sides` primaries, all the same one or each its own. */
async function race(
  root: string,
  driver: DriverName,
  shared: boolean,
  isNew: boolean,
): Promise<(string | null)[]> {
  const name = (each: string): string => {
    const directory = path.join(root, each);
    fs.mkdirSync(directory, { recursive: true });
    return path.join(directory, "app.db");
  };
  const replica = name("replica");
  const primaries = shared ? [name("one"), name("one")] : [name("one"), name("two")];
  for (const primary of new Set(primaries)) {
    const db = loadDriver(driver).open(primary);
    db.all("PRAGMA journal_mode=WAL");
    db.exec("CREATE TABLE t(n INTEGER PRIMARY KEY, owner TEXT)");
    db.close();
  }
  if (!isNew) {
    const hub = openHub(driver, primaries[0] as string, { ...OPTIONS, replicas: [replica] });
    hub.disconnect(null, () => {});
  }
  const starters = primaries.map((primary) => new Starter(driver, primary, replica));
  try {
    for (const starter of starters) await starter.says();
    for (const starter of starters) starter.tell("go");
    const outcomes: (string | null)[] = [];
    for (const starter of starters) {
      outcomes.push((await starter.says<{ outcome: string | null }>()).outcome);
    }
    for (const [i, starter] of starters.entries()) {
      if (outcomes[i] !== null) continue;
      starter.tell("end");
      const { rows } = await starter.says<{ rows: number }>();
      assertAtRest(starter.primary, [replica]);
      const [row] = readAtRest(replica, (db) => db.prepare("SELECT count(*) AS n FROM t").all());
      assert.equal(row?.["n"], rows);
    }
    return outcomes;
  } finally {
    for (const starter of starters) starter.kill();
  }
}

const OPTIONS = {
  durability: "commit",
  minCopies: Number.POSITIVE_INFINITY,
  replicaTimeout: 20_000,
  restoreMissing: false,
  checkpointBytes: 8 << 20,
  scrubBytesPerSecond: 0,
  openTransactionMs: 60_000,
  lowSpaceBytes: null,
  onProgress: null,
} as const;

if (import.meta.main && process.argv.length === 5) {
  const [driver, primary, replica] = process.argv.slice(2) as [DriverName, string, string];
  const say = (line: object): void => void fs.writeSync(1, `${JSON.stringify(line)}\n`);
  const words = createInterface(process.stdin)[Symbol.asyncIterator]();
  say({ ready: true });
  await words.next();
  try {
    const hub = openHub(driver, primary, { ...OPTIONS, replicas: [replica] });
    const db = loadDriver(driver).open(primary, { timeout: 2000 });
    hub.connect({ exec: (sql) => db.exec(sql), onFence() {}, closeNative() {} });
    const rows = 5;
    for (let n = 0; n < rows; n++) {
      db.exec(`INSERT INTO t(owner) VALUES('${process.pid}')`);
      hub.gate();
    }
    say({ outcome: null });
    await words.next();
    const { n } = db.all("SELECT count(*) AS n FROM t")[0] as { n: number };
    hub.disconnect(null, () => db.close());
    say({ rows: n });
  } catch (error) {
    say({ outcome: error instanceof LockstepError ? error.code : String(error) });
  }
  process.exit();
} else {
  test(`two primaries race for one replica: exactly one wins (SEED=${seed})`, async (t) => {
    const random = new Random(seed);
    const root = fs.realpathSync(scratch(t));
    for (let i = 0; i < runs(4); i++) {
      const shared = i % 2 === 1;
      const driver = random.pick<DriverName>(["node:sqlite", "better-sqlite3"]);
      const isNew = random.oneIn(2);
      const outcomes = await race(path.join(root, String(i)), driver, shared, isNew);
      const refusals = outcomes.filter((outcome) => outcome !== null);
      const what = `round ${i}, ${driver}, shared ${shared}, new ${isNew}: ${outcomes}`;
      assert.equal(refusals.length, 1, what);
      // Of a replica that is there already another primary may find out first that it is not its own.
      assert.match(
        String(refusals[0]),
        shared || isNew ? /_LOCKED$/ : /_(LOCKED|REPLICA_UNKNOWN)$/,
        what,
      );
    }
  });
}
