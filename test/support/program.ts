/**
 * Another program that uses a database: a process with node:sqlite and without Lockstep, commanded
 * line by line. Only SQLite's locks stand between it and us.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import type { Readable } from "node:stream";
import type { TestContext } from "node:test";

interface Answer {
  readonly rows?: readonly Record<string, unknown>[];
  readonly error?: string;
}

export class Program {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  /**
   * It opens the database before the first command, with `openReplica` if that is said: then it knows
   * the command `REACH position`, too. It is killed at the end of the test.
   */
  constructor(t: TestContext, file: string, { readOnly = false, openReplica = false } = {}) {
    const mode = openReplica ? "replica" : readOnly ? "read-only" : "read-write";
    this.#process = spawn(process.execPath, ["--no-warnings", import.meta.filename, file, mode], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines: Interface = createInterface(this.#process.stdout as Readable);
    this.#answers = lines[Symbol.asyncIterator]();
    t.after(() => this.#process.kill("SIGKILL"));
  }

  /** Runs SQL; the rows of the last statement, or what SQLite complains of. */
  async try(sql: string): Promise<Answer> {
    this.#process.stdin?.write(`${JSON.stringify(sql)}\n`);
    const { value, done } = await this.#answers.next();
    assert.ok(!done, "the program lives");
    return JSON.parse(value) as Answer;
  }

  async sql(sql: string): Promise<readonly Record<string, unknown>[]> {
    const { rows = [], error } = await this.try(sql);
    assert.equal(error, undefined);
    return rows;
  }

  /** Closes the database and ends. */
  async end(): Promise<void> {
    const closed = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.stdin?.end();
    await closed;
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    const closed = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.kill("SIGKILL");
    await closed;
  }
}

/** The same, at once and in one go: opens, runs all, and closes (or is killed before it can). */
export function elsewhere(file: string, sql: readonly string[], { killed = false } = {}): Answer[] {
  const input = sql.map((each) => `${JSON.stringify(each)}\n`).join("");
  const { stdout, stderr, signal } = spawnSync(
    process.execPath,
    ["--no-warnings", import.meta.filename, file, "read-write", ...(killed ? ["killed"] : [])],
    { input, encoding: "utf8" },
  );
  assert.equal(signal, killed ? "SIGKILL" : null, stderr);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Answer);
}

/**
 * A program that opens the database, looks, and closes it, over and over: what a shell or a backup
 * script does. Resolves when the first look was taken.
 * @returns ends it; before the file goes, for it would make it anew
 */
export async function visitor(t: TestContext, file: string): Promise<() => Promise<unknown>> {
  const args = ["--no-warnings", import.meta.filename, file, "visit"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  t.after(() => child.kill("SIGKILL"));
  await new Promise((resolve, reject) => {
    child.stdout.once("data", resolve);
    child.once("exit", () => reject(new Error("the visitor ended")));
  });
  return () => {
    child.kill("SIGKILL");
    return ended;
  };
}

/** A program that commits row after row until stopped; with `folding` it checkpoints now and then. */
export async function busyWriter(
  t: TestContext,
  file: string,
  folding: boolean,
): Promise<{ stop(): Promise<number> }> {
  const args = ["--no-warnings", import.meta.filename, file, "write", folding ? "fold" : ""];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  let last = "";
  const closed = new Promise((resolve) => child.once("close", resolve));
  const lines = createInterface(child.stdout).on("line", (line) => (last = line));
  await new Promise((resolve, reject) => {
    lines.once("line", resolve);
    child.once("exit", () => reject(new Error("the writer ended")));
  });
  return {
    async stop() {
      child.stdin.end();
      await closed;
      return Number(last);
    },
  };
}

if (import.meta.main && process.argv[3] === "write") {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  const { setTimeout } = process.getBuiltinModule("node:timers/promises");
  let ended = false;
  process.stdin.resume().on("end", () => (ended = true));
  const db = new DatabaseSync(process.argv[2] as string, { timeout: 10_000 });
  // A checkpoint that waits for a reader keeps writers out meanwhile: it should not wait long.
  const impatient = new DatabaseSync(process.argv[2] as string, { timeout: 20 });
  db.exec("PRAGMA wal_autocheckpoint=0");
  db.exec("CREATE TABLE IF NOT EXISTS foreign_rows(n INTEGER PRIMARY KEY, data BLOB)");
  const modes = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"];
  for (let n = 1; !ended; n++) {
    db.exec(`INSERT INTO foreign_rows(data) VALUES(randomblob(${(n * 379) % 3000}))`);
    if (n % 7 === 0 && process.argv[4] === "fold") {
      impatient.exec(`PRAGMA wal_checkpoint(${modes[(n / 7) % 4]})`);
    }
    if (n === 1 || n % 20 === 0) console.log(n);
    await setTimeout((n % 5) * 20);
  }
  impatient.close();
  db.close();
} else if (import.meta.main && process.argv[3] === "visit") {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  try {
    for (let i = 0; ; i++) {
      const options = { readOnly: i % 4 === 0, timeout: 5000 };
      const db = new DatabaseSync(process.argv[2] as string, options);
      db.prepare("SELECT count(*) FROM sqlite_schema").get();
      db.close();
      if (i === 0) console.log("visited");
    }
  } catch {} // the test has ended, and with it the file
} else if (import.meta.main) {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  const fs = process.getBuiltinModule("node:fs");
  const [, , file = "", mode, ending] = process.argv;
  const replica =
    mode === "replica" ? (await import("../../src/index.ts")).openReplica(file) : null;
  const db = replica ?? new DatabaseSync(file, { readOnly: mode === "read-only" });
  const answer = async (sql: string): Promise<Answer> => {
    try {
      if (/^REACH /.test(sql)) await replica?.reach(sql.slice("REACH ".length));
      if (/^REACH /.test(sql)) return {};
      const rows = /^\s*(select|pragma|explain|with)/i.test(sql) ? db.prepare(sql).all() : [];
      if (rows.length === 0) db.exec(sql);
      return { rows: rows as Record<string, unknown>[] };
    } catch (error) {
      return { error: (error as Error).message };
    }
  };
  for await (const line of createInterface(process.stdin)) {
    fs.writeSync(1, `${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
  if (ending === "killed") process.kill(process.pid, "SIGKILL");
  else db.close();
}
