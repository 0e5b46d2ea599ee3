/** A primary and a replica, and the ways in which they come to differ. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import * as sqlite from "node:sqlite";
import type { TestContext } from "node:test";
import { DatabaseSync } from "../../src/index.ts";
import { scratch } from "../scratch.ts";

export class Pair {
  readonly directory: string;
  readonly primary: string;
  readonly replica: string;

  /** The primary is an ordinary database of 500 rows; there is no replica yet. */
  constructor(t: TestContext) {
    this.directory = fs.realpathSync(scratch(t));
    this.primary = this.path("main");
    this.replica = this.path("backup");
    plain(
      this.primary,
      "CREATE TABLE entry(id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX by_text ON entry(text)",
      `INSERT INTO entry(text) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n
         WHERE i < 500) SELECT 'entry ' || i FROM n`,
    );
  }

  /** `NAME/app.db`, in a directory of its own. */
  path(name: string): string {
    fs.mkdirSync(path.join(this.directory, name), { recursive: true });
    return path.join(this.directory, name, "app.db");
  }

  /** Writes both, as the application does. */
  replicate(...sql: string[]): this {
    replicate(this.primary, this.replica, ...sql);
    return this;
  }
}

/** The same, but the process is killed before it closes: both copies keep their logs. */
export function replicateAndDie(primary: string, replica: string, ...sql: string[]): void {
  const source = path.resolve(import.meta.dirname, "../../src/index.ts");
  const program = `
    const { DatabaseSync } = await import(${JSON.stringify(source)});
    const [, primary, replica, ...sql] = process.argv;
    const db = new DatabaseSync(primary, { replicas: [replica] });
    for (const each of sql) db.exec(each);
    process.kill(process.pid, "SIGKILL");`;
  const flags = ["--no-warnings", "--input-type=module", "-e", program, "--"];
  const { signal } = spawnSync(process.execPath, [...flags, primary, replica, ...sql]);
  assert.equal(signal, "SIGKILL");
}

/** What is committed now is on the replica's disk, and lost from the primary's. */
export function loseFromPrimary({ primary, replica }: Pair, ...sql: string[]): void {
  replicateAndDie(primary, replica, ...sql);
  for (const suffix of ["-wal", "-shm"]) fs.rmSync(`${primary}${suffix}`);
}

export function replicate(primary: string, replica: string, ...sql: string[]): void {
  const db = new DatabaseSync(primary, { replicas: [replica] });
  for (const each of sql) db.exec(each);
  db.close();
}

/** Another program writes a copy, and its close folds the log. */
export function plain(file: string, ...sql: string[]): void {
  const db = new sqlite.DatabaseSync(file);
  for (const each of sql) db.exec(each);
  db.close();
}

/** Another program writes a copy, and its log is left behind. */
export function plainLeavingLog(file: string, ...sql: string[]): void {
  const reader = new sqlite.DatabaseSync(file, { readOnly: true });
  reader.prepare("SELECT count(*) FROM sqlite_schema").get();
  plain(file, ...sql); // not the last to close: it folds nothing
  reader.close(); // may not write
}

export function rowsOf(file: string): number {
  const db = new sqlite.DatabaseSync(file, { readOnly: true });
  const row = db.prepare("SELECT count(*) AS n FROM entry").get();
  db.close();
  return Number(row?.["n"]);
}

export const ADD_ONE = "INSERT INTO entry(text) VALUES('one more')";
