/**
 * What the user expects of a restored copy, in SQL: each statement must return a row whose first
 * column is true. SQLite says what is true: a number, or text that begins with one, that is not 0.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { codes, LockstepError } from "../errors.ts";

export interface Expectation {
  readonly sql: string;
  readonly holds: boolean;
  /** What SQLite said when it ran; null if it ran. */
  readonly error: string | null;
  readonly seconds: number;
}

/**
 * Can the statements be run on this database?
 * @throws LockstepError BAD_OPTION
 */
export function assertRunnable(db: DatabaseSync, copy: string, texts: readonly string[]): void {
  for (const text of texts) {
    for (const { sql, statement } of statementsOf(db, text)) {
      if (!statement.prepared) throw badExpectation(copy, sql, statement.error);
    }
  }
}

/** Runs every statement, in order. One that SQLite refuses does not hold. */
export function* run(db: DatabaseSync, texts: readonly string[]): Generator<Expectation> {
  for (const text of texts) {
    for (const { sql, statement } of statementsOf(db, text)) {
      const began = performance.now();
      let holds = false;
      let error: string | null = null;
      try {
        if (!statement.prepared) throw statement.error;
        holds = isMet(db, statement.prepared);
      } catch (cause) {
        error = (cause as Error).message;
      }
      yield { sql, holds, error, seconds: secondsSince(began) };
    }
  }
}

/** To milliseconds. */
export function secondsSince(began: number): number {
  return Math.round(performance.now() - began) / 1000;
}

// --- internal ---

interface Found {
  readonly sql: string;
  readonly statement:
    | { readonly prepared: StatementSync }
    | { readonly prepared: null; readonly error: unknown };
}

/** White space, comments and lone semicolons: SQLite finds no statement in these. */
const NOTHING = /^(?:\s|;|--[^\n]*(?:\n|$)|\/\*[\s\S]*?(?:\*\/|$))+/;

/** Each statement of a text; the last one found cannot be prepared if what follows is none. */
function* statementsOf(db: DatabaseSync, text: string): Generator<Found> {
  let rest = text.replace(NOTHING, "");
  if (rest === "") yield { sql: text, statement: { prepared: null, error: new Error("no SQL") } };
  while (rest !== "") {
    let prepared: StatementSync;
    try {
      prepared = db.prepare(rest); // takes the first statement only, and says how far it goes
    } catch (error) {
      yield { sql: rest.trim(), statement: { prepared: null, error } };
      return;
    }
    const sql = prepared.sourceSQL;
    yield { sql: sql.replace(/;$/, "").trim(), statement: { prepared } };
    rest = rest.slice(sql.length).replace(NOTHING, "");
  }
}

/** Does it return a row whose first column is true? */
function isMet(db: DatabaseSync, statement: StatementSync): boolean {
  const isTrue = db.prepare("SELECT ? IS TRUE AS yes");
  statement.setReadBigInts(true);
  const arrays = statement as StatementSync & { setReturnArrays?: (enabled: boolean) => void };
  arrays.setReturnArrays?.(true); // an object puts a column that is named like a number first
  for (const row of statement.iterate()) {
    if (isTrue.get(Object.values(row)[0] ?? null)?.["yes"] === 1) return true;
  }
  return false;
}

function badExpectation(copy: string, sql: string, cause: unknown): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy,
    what: `This expectation cannot be run on it: ${sql}: ${(cause as Error).message}`,
    state: "Nothing was changed",
    next: "Correct it and run the command again",
    cause,
  });
}
