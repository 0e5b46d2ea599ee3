/** Carries out a call of the plan on a connection. */
import { type Call, type Statement, transactionAt, type Value } from "./plan.ts";

/** What both drivers, and both drop-ins, have in common. */
export interface Connection {
  exec(sql: string): unknown;
  prepare(sql: string): {
    run(...parameters: Value[]): unknown;
    get(...parameters: Value[]): unknown;
    all(...parameters: Value[]): unknown[];
    iterate(...parameters: Value[]): Iterable<unknown>;
  };
  /** The database as bytes, what its log holds included. */
  serialize(): Uint8Array;
  close(): unknown;
  /** Ours only. */
  readonly replication?: { durableSync(): string } | null;
  /** better-sqlite3 only. */
  transaction?(work: () => void): { (): void; immediate(): void };
}

export function perform(db: Connection, seed: number, call: Call): void {
  if (call.before !== null) db.exec(call.before);
  const { first, last, shape } = call;
  const transaction = transactionAt(seed, first);
  switch (shape) {
    case "returning":
      commitAlone(db, transaction[0] as Statement, first);
      break;
    case "wrapped":
      commitWrapped(db, transaction, first);
      break;
    case "exec":
    case "exec-and-begin":
      db.exec(text(seed, first, last) + (shape === "exec" ? "" : "BEGIN; DELETE FROM item"));
      if (shape === "exec-and-begin") db.exec("ROLLBACK");
      break;
    case "statements":
      commitPlainly(db, transaction);
      break;
  }
}

/** The same transaction in its simplest form: what the oracle does. */
export function commitPlainly(db: Connection, transaction: readonly Statement[]): void {
  db.exec("BEGIN");
  runAll(db, transaction);
  db.exec("COMMIT");
}

function commitWrapped(db: Connection, transaction: readonly Statement[], n: number): void {
  const wrapped = db.transaction?.(() => runAll(db, transaction));
  if (!wrapped) commitPlainly(db, transaction);
  else if (n % 2) wrapped.immediate();
  else wrapped();
}

/** The number decides which of the methods that return rows does the writing. */
function commitAlone(db: Connection, [sql, ...parameters]: Statement, n: number): void {
  const statement = db.prepare(`${sql} RETURNING n`);
  if (n % 3 === 0) statement.get(...parameters);
  else if (n % 3 === 1) statement.all(...parameters);
  else for (const _ of statement.iterate(...parameters));
}

function runAll(db: Connection, statements: readonly Statement[]): void {
  for (const [sql, ...parameters] of statements) db.prepare(sql).run(...parameters);
}

/** Transactions as one text, parameters written out. */
function text(seed: number, first: number, last: number): string {
  let sql = "";
  for (let n = first; n <= last; n++) {
    const statements = transactionAt(seed, n).map(([template, ...parameters]) => {
      const values = parameters.values();
      return template.replaceAll("?", () => literal(values.next().value ?? 0));
    });
    sql += `BEGIN IMMEDIATE; ${statements.join("; ")}; COMMIT; `;
  }
  return sql;
}

function literal(value: Value): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return `'${value.replaceAll("'", "''")}'`;
  return `x'${Buffer.from(value).toString("hex")}'`;
}
