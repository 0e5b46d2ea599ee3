/**
 * The small transaction that most workloads commit (an update and an insert), and the ways to have
 * it on stable storage. All ways use better-sqlite3 in WAL mode and run the same statements.
 */
import fs from "node:fs";
import { dirname, join } from "node:path";
import Plain from "better-sqlite3";
import type { ReplicationHandle } from "../src/index.ts";
import { Replicated } from "./built.ts";
import { percentile } from "./figures.ts";
import { type Figures, LOG_BYTES } from "./workload.ts";

export const ways = {
  lockstep: "Lockstep",
  two: "two databases, one after the other",
  full: "better-sqlite3, synchronous=FULL",
  normal: "better-sqlite3, synchronous=NORMAL",
  copy: "whole copy after each commit",
  limit: "limit: the files alone, synced at once",
} as const;
export type Way = Exclude<keyof typeof ways, "limit"> | "barrier";

export interface Settings {
  /** Beside the first; of the ways that know one copy only, it changes nothing. */
  readonly replicas?: number;
  /** Replicas that are not files beside the first, instead of those: streams. */
  readonly addresses?: readonly string[];
  /** The size of the log at which it is checkpointed; "own" for what the way does by itself. */
  readonly logBytes?: number | "own";
  /** A database to begin with; it is only read. */
  readonly template?: string;
}

export interface Opened {
  /** One, or for `two` all of them. */
  readonly databases: readonly Plain.Database[];
  /** Of the first database. */
  readonly path: string;
  readonly logBytes: number;
  /** Does the log stay, to be written over and over? */
  readonly keepsLog: boolean;
  /** What the way does when the transaction is committed. */
  afterCommit(): void;
  /** Resolves when what was committed is as durable as the way makes it. */
  durable(): Promise<unknown>;
  close(): void;
}

/** SQLite checkpoints by itself at 1000 pages. */
const SQLITE_LOG_BYTES = 1000 * 4096;

/** Each copy has a directory of its own, which may be a disk of its own. */
export const copyPath = (directory: string, copy: number): string =>
  join(directory, `copy-${copy}`, "ledger.db");

export function open(way: Way, directory: string, settings: Settings = {}): Opened {
  const { addresses, logBytes = LOG_BYTES, template } = settings;
  const replicas = addresses ? 0 : (settings.replicas ?? 1);
  const paths = Array.from({ length: 1 + replicas }, (_, copy) => copyPath(directory, copy));
  const path = paths[0]!;
  for (const each of paths) fs.mkdirSync(dirname(each), { recursive: true });
  if (template !== undefined) {
    for (const each of way === "two" ? paths : [path]) {
      fs.copyFileSync(template, each);
      sync(each); // or it would be written in the background while commits are measured
    }
  }
  const databases = {
    lockstep: () => [replicated(path, addresses ?? paths.slice(1), logBytes)],
    barrier: () => [replicated(path, addresses ?? paths.slice(1), logBytes, "barrier")],
    two: () => paths.map((each) => configured(new Plain(each), "FULL", logBytes)),
    full: () => [configured(new Plain(path), "FULL", logBytes)],
    normal: () => [configured(new Plain(path), "NORMAL", logBytes)],
    copy: () => [configured(new Plain(path), "FULL", logBytes)],
  }[way]();
  return {
    databases,
    path,
    logBytes: logBytes !== "own" ? logBytes : way === "lockstep" ? LOG_BYTES : SQLITE_LOG_BYTES,
    keepsLog: way !== "copy",
    afterCommit: () => {
      if (way === "copy") copyWhole(databases[0]!, path, paths[1]!);
    },
    durable: () => (way === "barrier" ? durable(databases[0]!) : resolved),
    close: () => {
      for (const db of databases) db.close();
    },
  };
}

const resolved = Promise.resolve();

function replicated(
  path: string,
  replicas: readonly string[],
  logBytes: number | "own",
  durability: "commit" | "barrier" = "commit",
): Plain.Database {
  if (replicas.length === 0) return configured(new Replicated(path), "FULL", logBytes);
  return new Replicated(path, {
    replicas,
    durability,
    ...(logBytes === "own" ? {} : { checkpointBytes: logBytes }),
  });
}

/** Of `barrier`, whose databases are all ours. */
function durable(db: Plain.Database): Promise<unknown> {
  const { replication } = db as unknown as { replication: ReplicationHandle };
  return replication.durable();
}

function configured(
  db: Plain.Database,
  synchronous: "FULL" | "NORMAL",
  logBytes: number | "own",
): Plain.Database {
  db.pragma("journal_mode = WAL");
  db.pragma(`synchronous = ${synchronous}`);
  if (logBytes !== "own") db.pragma(`wal_autocheckpoint = ${logBytes / 4096}`);
  return db;
}

/** What is committed goes into the file, and the file as a whole to the other place, durably. */
function copyWhole(db: Plain.Database, from: string, to: string): void {
  db.pragma("wal_checkpoint(TRUNCATE)");
  fs.copyFileSync(from, `${to}-new`);
  sync(`${to}-new`);
  fs.renameSync(`${to}-new`, to);
  sync(dirname(to));
}

export function sync(path: string): void {
  const fd = fs.openSync(path, "r");
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

export const ACCOUNTS = 10_000;
export const SCHEMA = `
  CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY, account INTEGER, cents INTEGER, note TEXT
  );
`;
export const FILL = `
  INSERT INTO account
    WITH RECURSIVE n (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n LIMIT ${ACCOUNTS})
    SELECT id, 0 FROM n;
`;
export const UPDATE = "UPDATE account SET balance = balance + ? WHERE id = ?";
export const INSERT = "INSERT INTO entry (account, cents, note) VALUES (?, ?, ?)";
export const NOTE = "a line of about forty characters or so";
export const accountOf = (i: number): number => (i * 7919) % ACCOUNTS;

/** Makes the tables; returns what commits the i-th transaction of one statement. */
export function entries(opened: Opened): (i: number) => void {
  for (const db of opened.databases) db.exec(SCHEMA);
  const inserts = opened.databases.map((db) => db.prepare(INSERT));
  return (i) => {
    for (const insert of inserts) insert.run(accountOf(i), i % 100, NOTE);
  };
}

/**
 * Makes the tables; returns what commits the i-th transaction. With two databases each statement
 * is run on the one and then on the other, and so is the commit.
 */
export function ledger(opened: Opened): (i: number) => void {
  for (const db of opened.databases) {
    db.exec(SCHEMA);
    db.exec(FILL);
  }
  return transaction(opened, [
    { sql: UPDATE, values: (i) => [i % 100, accountOf(i)] },
    { sql: INSERT, values: (i) => [accountOf(i), i % 100, NOTE] },
  ]);
}

export function transaction(
  opened: Opened,
  statements: readonly { sql: string; values(i: number): (number | string)[] }[],
): (i: number) => void {
  const each = (sql: string) => opened.databases.map((db) => db.prepare(sql));
  const begin = each("BEGIN");
  const prepared = statements.map(({ sql, values }) => ({ on: each(sql), values }));
  const commit = each("COMMIT");
  return (i) => {
    for (const statement of begin) statement.run();
    for (const { on, values } of prepared) {
      const bound = values(i);
      for (const statement of on) statement.run(...bound);
    }
    for (const statement of commit) statement.run();
    opened.afterCommit();
  };
}

/**
 * Commits until the log has once grown to the size at which it is checkpointed and has been begun
 * anew: from then on it is written over, and a sync does not have to make the file larger.
 * @returns the number of the next transaction
 */
export function warmUp(opened: Opened, commit: (i: number) => void): number {
  if (!opened.keepsLog) {
    commit(0);
    return 1;
  }
  let i = 0;
  const size = () => fs.statSync(`${opened.path}-wal`).size;
  while (size() < opened.logBytes) {
    if (i === 100_000) throw new Error(`After ${i} commits the log has ${size()} bytes`);
    commit(i++);
  }
  const grown = i;
  while (i < grown + grown / 4 + 2) commit(i++);
  return i;
}

/** Percentiles in microseconds, of so many commits or of what so many seconds allow. */
export function latencies(
  commit: (i: number) => void,
  first: number,
  { commits, seconds = Number.POSITIVE_INFINITY }: { commits: number; seconds?: number },
  percents: Readonly<Record<string, number>> = { p50: 50, p99: 99, max: 100 },
): Figures {
  const micros = new Float64Array(commits);
  const began = process.hrtime.bigint();
  const end = began + BigInt(Math.min(seconds, 1e6) * 1e9);
  let done = 0;
  for (let before = began; done < commits && (done === 0 || before < end); ) {
    commit(first + done);
    const after = process.hrtime.bigint();
    micros[done++] = Number(after - before) / 1000;
    before = after;
  }
  return figuresOf(micros.subarray(0, done), percents);
}

/** What one commit after the other took, in microseconds. */
export function figuresOf(
  micros: Float64Array,
  percents: Readonly<Record<string, number>> = { p50: 50, p99: 99, max: 100 },
): Figures {
  const total = micros.reduce((sum, one) => sum + one, 0);
  const sorted = micros.toSorted();
  const named = Object.entries(percents).map(([name, percent]) => [
    name,
    percentile(sorted, percent),
  ]);
  return { ...Object.fromEntries(named), perSecond: (micros.length / total) * 1e6 };
}

/** How many bytes of log one transaction makes, on average. */
export function logBytesOf(
  directory: string,
  prepare: (opened: Opened) => (i: number) => void,
  transactions: number,
): number {
  const opened = open("normal", directory, { logBytes: 2 ** 40, replicas: 0 });
  const commit = prepare(opened);
  const size = () => fs.statSync(`${opened.path}-wal`).size;
  const before = size();
  for (let i = 0; i < transactions; i++) commit(i);
  const bytes = (size() - before) / transactions;
  opened.close();
  fs.rmSync(dirname(opened.path), { recursive: true });
  return Math.round(bytes);
}
