/**
 * What is written for readers to look at: transfers between accounts, each one transaction over three
 * tables. At every transaction boundary, whichever it is:
 *
 *   - the balances sum up to TOTAL;
 *   - `last` names the newest step of the journal, and its sum of amounts;
 *   - the journal has no gap among the steps that it keeps.
 */
import type { Random } from "../crash/random.ts";

export const ACCOUNTS = 100;
export const TOTAL = ACCOUNTS * 1000;
/** How many steps the journal keeps. */
const KEEP = 500;

export const SCHEMA = `
  CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS journal(
    step INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER, note BLOB);
  CREATE INDEX IF NOT EXISTS by_target ON journal(target, amount);
  CREATE TABLE IF NOT EXISTS last(step INTEGER NOT NULL, amounts INTEGER NOT NULL);
`;

/** One row: what must be true of it is in `wrongWith`; reader.py has the same. */
export const LOOK = `
  SELECT (SELECT sum(balance) FROM account) AS total, (SELECT count(*) FROM account) AS accounts,
    last.step AS step, last.amounts AS amounts,
    (SELECT max(step) FROM journal) AS newest, (SELECT sum(amount) FROM journal) AS journalled,
    (SELECT max(step) - min(step) + 1 - count(*) FROM journal) AS gaps
  FROM last`;

export interface Look {
  readonly total: number;
  readonly accounts: number;
  readonly step: number;
  readonly amounts: number;
  readonly newest: number;
  readonly journalled: number;
  readonly gaps: number;
}

/** What is not consistent in it, or null. */
export function wrongWith(look: Look): string | null {
  const { total, accounts, step, amounts, newest, journalled, gaps } = look;
  const holds =
    total === TOTAL && accounts === ACCOUNTS && step === newest && amounts === journalled;
  return holds && gaps === 0 ? null : JSON.stringify(look);
}

interface Writer {
  exec(sql: string): unknown;
}

/** The first transaction: without it there is nothing to look at. */
export function begin(db: Writer): void {
  const accounts = Array.from({ length: ACCOUNTS }, (_, i) => `(${i}, ${TOTAL / ACCOUNTS})`);
  db.exec(`BEGIN; ${SCHEMA}
    INSERT INTO account VALUES ${accounts.join(", ")};
    INSERT INTO journal VALUES (0, 0, 0, 0, NULL);
    INSERT INTO last VALUES (0, 0); COMMIT`);
}

/** One transfer. */
export function transfer(db: Writer, step: number, random: Random): void {
  const [source, target] = [random.below(ACCOUNTS), random.below(ACCOUNTS)];
  const amount = 1 + random.below(50);
  db.exec(`BEGIN;
    UPDATE account SET balance = balance - ${amount} WHERE id = ${source};
    INSERT INTO journal VALUES
      (${step}, ${source}, ${target}, ${amount}, randomblob(${random.below(6000)}));
    UPDATE account SET balance = balance + ${amount} WHERE id = ${target};
    DELETE FROM journal WHERE step <= ${step - KEEP};
    UPDATE last SET step = ${step}, amounts = (SELECT sum(amount) FROM journal); COMMIT`);
}
