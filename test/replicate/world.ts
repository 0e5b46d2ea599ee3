/**
 * A database that programs of somebody else's write (writer.py: Python, several processes, SQLite's own automatic
 * checkpoint), and `lockstep replicate` in a process of its own, which may be killed.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { main } from "../cli/lockstep.ts";
import { type Ending, scratch } from "../scratch.ts";
import { readAtRest, runSql } from "../support/files.ts";

/** Why it cannot run here; null if it can. */
export function missing(): string | null {
  const { status } = spawnSync("python3", ["-c", "import sqlite3"]);
  return status === 0 ? null : "there is no python3 with sqlite3";
}

/** What a writer says in the end. */
export interface Written {
  /** Its rows are numbered 1 to this. */
  readonly last: number;
  /** How often it was told that the database is locked, in spite of its patience of five seconds. */
  readonly locked: number;
  /** How long each commit took, in microseconds, from `BEGIN IMMEDIATE` on. */
  readonly took: readonly number[];
}

export class Writer {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(t: Ending, database: string, name: string, wishes: WriterWishes) {
    const { seed, seconds, pauseMs = 0, stays = false } = wishes;
    this.name = name;
    const script = path.join(import.meta.dirname, "writer.py");
    const args = [database, name, seed, seconds, pauseMs, ...(stays ? ["stays"] : [])].map(String);
    this.#child = spawn("python3", [script, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#child.stdout as Readable)[Symbol.asyncIterator]();
    t.after(() => this.#child.kill("SIGKILL"));
  }

  /** Has it begun? */
  async ready(): Promise<void> {
    assert.equal(await this.#line(), "ready");
  }

  /** What it has written, when it has ended; one that stays has its connection open then. */
  async written(): Promise<Written> {
    return JSON.parse(await this.#line()) as Written;
  }

  /** Closes its connection. */
  async end(): Promise<void> {
    const closed = once(this.#child, "close");
    this.#child.stdin?.end();
    await closed;
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    assert.ok(!done, `writer ${this.name} lives`);
    return value;
  }
}

export interface WriterWishes {
  readonly seed: number;
  readonly seconds: number;
  /** About how long it waits between two transactions, in milliseconds. */
  readonly pauseMs?: number;
  /** Does it keep its connection until `end`? */
  readonly stays?: boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: the tests assert what is in it
export type Said = any;

/** `lockstep replicate --json`. */
export class Replicate {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<unknown[]>;

  constructor(t: Ending, primary: string, replicas: readonly string[], ...options: string[]) {
    const args = ["--no-warnings", main, "replicate", "--json", ...options, primary, ...replicas];
    this.#child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#lines = createInterface(this.#child.stdout as Readable)[Symbol.asyncIterator]();
    this.#ended = once(this.#child, "exit");
    t.after(() => this.#child.kill("SIGKILL"));
  }

  /** The next thing it says that is no status, and no warning of this machine's disk; null if it has ended. */
  async says(): Promise<Said> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) return null;
      const said = JSON.parse(value) as Said;
      if (said.event !== "status" && said.kind !== "same-disk") return said;
    }
  }

  async inStep(): Promise<Said> {
    const said = await this.says();
    assert.equal(said?.event, "in-step", JSON.stringify(said));
    return said;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  /** As a service manager does. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.#child.kill(signal);
    const said = await this.says();
    assert.equal(said?.event, "stopped", JSON.stringify(said));
    assert.deepEqual(await this.#ended, [0, null]);
  }

  /** Its exit status. */
  async status(): Promise<number | null> {
    const [status] = await this.#ended;
    return status as number | null;
  }
}

export class World {
  readonly root: string;
  readonly primary: string;
  readonly replica: string;
  readonly #t: Ending;

  constructor(t: Ending, { mode = "WAL" } = {}) {
    this.#t = t;
    this.root = fs.realpathSync(scratch(t));
    this.primary = this.#path("main");
    this.replica = this.#path("replica");
    runSql(
      this.primary,
      `PRAGMA journal_mode=${mode}`,
      "CREATE TABLE entry(id INTEGER PRIMARY KEY, writer TEXT, n INTEGER, data BLOB)",
    );
  }

  #path(name: string): string {
    fs.mkdirSync(path.join(this.root, name));
    return path.join(this.root, name, "app.db");
  }

  writer(name: string, wishes: WriterWishes): Writer {
    return new Writer(this.#t, this.primary, name, wishes);
  }

  follow(...options: string[]): Replicate {
    return new Replicate(this.#t, this.primary, [this.replica], ...options);
  }

  /** A row that this process commits, as any program might. */
  put(writer = "test"): void {
    const n = `(SELECT coalesce(max(n), 0) + 1 FROM entry WHERE writer = '${writer}')`;
    runSql(
      this.primary,
      `INSERT INTO entry(writer, n, data) VALUES('${writer}', ${n}, randomblob(500))`,
    );
  }
}

/** Each writer's rows are there, all that it committed and no more. At rest, both copies. */
export function assertAllThere(copy: string, written: Readonly<Record<string, number>>): void {
  const rows = readAtRest(copy, (db) =>
    db.prepare("SELECT writer, count(*) AS n, max(n) AS last FROM entry GROUP BY writer").all(),
  );
  const found = Object.fromEntries(rows.map(({ writer, n, last }) => [writer, [n, last]]));
  const wanted = Object.fromEntries(Object.entries(written).map(([name, n]) => [name, [n, n]]));
  assert.deepEqual(found, wanted, copy);
}
