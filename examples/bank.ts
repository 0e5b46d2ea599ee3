/**
 * The bank that the ledger example runs: accounts, transfers between them, and what must hold. It
 * knows nothing of replication: the same statements would run on one plain database.
 */
import type { DatabaseSync } from "node:sqlite";

export const accounts = 1000;
export const openingBalance = 10_000;

export interface Transfer {
  readonly id: number;
  readonly debtor: number;
  readonly creditor: number;
  readonly cents: number;
}

export function createBank(db: DatabaseSync): void {
  db.exec(`
    CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE transfer (
      id INTEGER PRIMARY KEY,
      debtor INTEGER NOT NULL REFERENCES account,
      creditor INTEGER NOT NULL REFERENCES account,
      cents INTEGER NOT NULL CHECK (cents > 0)
    );
    WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${accounts})
    INSERT INTO account SELECT id, ${openingBalance} FROM n;
  `);
}

/** Commits one transfer; when this returns, it is on stable storage in every copy. */
export function transferIn(db: DatabaseSync): (transfer: Transfer) => void {
  const move = db.prepare("UPDATE account SET balance = balance + ? WHERE id = ?");
  const record = db.prepare("INSERT INTO transfer VALUES (?, ?, ?, ?)");
  return ({ id, debtor, creditor, cents }) => {
    db.exec("BEGIN IMMEDIATE");
    move.run(-cents, debtor);
    move.run(cents, creditor);
    record.run(id, debtor, creditor, cents);
    db.exec("COMMIT");
  };
}

export interface Audit {
  /** Acknowledged transfers that are there, exactly as acknowledged. */
  readonly found: number;
  readonly lost: readonly Transfer[];
  /** Transfers that are there without an acknowledgement: at most the one in flight. */
  readonly unacknowledged: number;
  /** No money appeared or vanished, and each balance is what its transfers make it. */
  readonly balanced: boolean;
}

/** Looks up every acknowledged transfer and does the sums. */
export function audit(db: DatabaseSync, acknowledged: readonly Transfer[]): Audit {
  const lookUp = db.prepare("SELECT debtor, creditor, cents FROM transfer WHERE id = ?");
  const lost = acknowledged.filter(({ id, debtor, creditor, cents }) => {
    const row = lookUp.get(id);
    return row?.debtor !== debtor || row.creditor !== creditor || row.cents !== cents;
  });
  const number = (sql: string) => Object.values(db.prepare(sql).get() ?? {})[0] as number;
  const wrong = number(`
    WITH movement (id, cents) AS (
      SELECT debtor, -cents FROM transfer UNION ALL SELECT creditor, cents FROM transfer
    ), net AS (SELECT id, sum(cents) AS cents FROM movement GROUP BY id)
    SELECT count(*) FROM account LEFT JOIN net USING (id)
    WHERE balance <> ${openingBalance} + coalesce(cents, 0)`);
  return {
    found: acknowledged.length - lost.length,
    lost,
    unacknowledged: number("SELECT count(*) FROM transfer") - acknowledged.length + lost.length,
    balanced: wrong === 0 && number("SELECT count(*) FROM account") === accounts,
  };
}
