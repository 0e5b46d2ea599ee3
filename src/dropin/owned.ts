/**
 * What Lockstep sets on a connection, and nobody else may change: the four pragmas of replication.
 * Reading them is free, and so is to set what is set already.
 */
import { codes, LockstepError } from "../errors.ts";
import { firstStatement, type Pragma, statementsIn } from "./sql.ts";

/** Each with the values that change nothing. */
const OWNED: Readonly<Record<string, readonly string[]>> = {
  journal_mode: ["wal"],
  synchronous: ["normal", "1"],
  wal_autocheckpoint: ["0"],
  locking_mode: ["normal"],
};

/**
 * Looks at a text that will be executed as a whole.
 * @returns can one of its statements commit?
 * @throws LockstepError OWNED
 */
export function inspectScript(sql: string, primary: string): boolean {
  const mayOwn = /pragma/i.test(sql);
  let canCommit = false;
  for (const statement of statementsIn(sql)) {
    refuseOwned(statement.pragma, primary);
    canCommit ||= statement.canCommit;
    if (canCommit && !mayOwn) break;
  }
  return canCommit;
}

/**
 * Looks at a text of which the first statement will be prepared; SQLite sets some pragmas then.
 * @returns can it commit?
 * @throws LockstepError OWNED
 */
export function inspectStatement(sql: string, primary: string): boolean {
  const statement = firstStatement(sql);
  if (statement === null) return false;
  refuseOwned(statement.pragma, primary);
  return statement.canCommit;
}

function refuseOwned(pragma: Pragma | null, primary: string): void {
  if (pragma === null || pragma.value === null || !concernsMain(pragma)) return;
  const allowed = Object.hasOwn(OWNED, pragma.name) ? OWNED[pragma.name] : undefined;
  if (!allowed || allowed.includes(pragma.value)) return;
  throw new LockstepError(codes.OWNED, {
    copy: primary,
    what: `PRAGMA ${pragma.name} = ${pragma.value} is refused: replication needs it to be ${allowed[0]}`,
    state: "Nothing was executed",
    next: "Remove the statement, or open the database without replicas",
  });
}

/** Without a schema's name it does, and this one whatever schema is named. */
function concernsMain({ schema, name }: Pragma): boolean {
  return schema === null || schema === "main" || name === "wal_autocheckpoint";
}

/** Replaces all that is replicated, past SQLite's log. */
export function refuseDeserialize(primary: string): never {
  throw new LockstepError(codes.OWNED, {
    copy: primary,
    what: "deserialize() is refused: it would replace the replicated database in memory",
    state: "Nothing was changed",
    next: "Copy the content with SQL, or deserialize into an attached database",
  });
}
