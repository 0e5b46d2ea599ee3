/**
 * The transaction that every way commits: an account's balance and a line in its history. In WAL
 * mode, to stable storage.
 */
import fs from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { LOG_BYTES } from "./ways.ts";

const ACCOUNTS = 10_000;
const SAMPLE = 100;

/** A database without Lockstep, as safe as Lockstep's copies. */
export function openPlain(path: string): DatabaseSync {
  const db = new DatabaseSync(path);
  db.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = ${LOG_BYTES / 4096};
  `);
  return db;
}

/**
 * Makes the tables, and fills the log once: the next commit begins it anew, so that none that is
 * measured makes the file longer.
 * @returns commits one transaction
 */
export function ledger(db: DatabaseSync): () => void {
  db.exec(`
    CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER, cents INTEGER, note TEXT);
    INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n
      WHERE i < ${ACCOUNTS - 1}) SELECT i, 0 FROM n;
    CREATE TABLE filler AS SELECT zeroblob(${LOG_BYTES}) AS bytes;
  `);
  const begin = db.prepare("BEGIN IMMEDIATE");
  const update = db.prepare("UPDATE account SET balance = balance + ? WHERE id = ?");
  const insert = db.prepare("INSERT INTO entry (account, cents, note) VALUES (?, ?, ?)");
  const commit = db.prepare("COMMIT");
  let n = 0;
  return () => {
    const [id, cents] = [(n * 7919) % ACCOUNTS, n % 100];
    n++;
    begin.run();
    update.run(cents, id);
    insert.run(id, cents, "a line of about forty characters or so");
    commit.run();
  };
}

/** What one commit appends to the log, from a database made in `directory` and removed again. */
export function countBytesPerCommit(directory: string): number {
  const file = join(directory, "sample.db");
  const db = openPlain(file);
  db.exec("PRAGMA synchronous = OFF");
  const commit = ledger(db);
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  for (let i = 0; i < SAMPLE; i++) commit();
  const bytes = fs.statSync(`${file}-wal`).size;
  db.close();
  fs.rmSync(file);
  return Math.round(bytes / SAMPLE);
}
