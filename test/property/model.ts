/**
 * The model: what the application's database holds, as plain values, and what each of its acts makes
 * of that. A plan is the SQL of a life's acts, each with the state that it leads to.
 */
import type { Connection } from "../crash/perform.ts";

export interface State {
  /** Row number to its data: how many times which letter. */
  readonly rows: ReadonlyMap<number, string>;
  /** The rows of the table `other`; null if there is none. */
  readonly other: readonly number[] | null;
  readonly index: boolean;
  readonly version: number;
}

export const EMPTY: State = { rows: new Map(), other: null, index: false, version: 0 };

/** Before the first act. */
export const SCHEMA = "CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, data TEXT)";

export type Act =
  | { readonly put: number; readonly bytes: number }
  | { readonly transaction: number; readonly bytes: number; readonly end: "COMMIT" | "ROLLBACK" }
  | { readonly savepoint: number; readonly undone: boolean; readonly nested: boolean }
  | { readonly update: number; readonly bytes: number }
  | { readonly remove: number }
  | { readonly schema: "create" | "fill" | "drop" | "index" | "no index" | "both" }
  | { readonly version: number }
  | { readonly maintain: string }
  | { readonly attached: number }
  | { readonly reader: true }
  | { readonly durable: true };

/** One call: at most one transaction. */
export interface Step {
  /** What a connection executes; null: see `also`. */
  readonly sql: string | null;
  readonly also?: "durable" | "reader";
  /** Is it one statement, to be prepared and run? */
  readonly single: boolean;
  /** What the database holds when it has returned. */
  readonly after: State;
}

/** @param aux another database, which is not replicated */
export function plan(from: State, acts: readonly Act[], aux: string): Step[] {
  const steps: Step[] = [];
  let state = from;
  for (const act of acts) {
    for (const step of stepsOf(act, state, aux)) {
      steps.push(step);
      state = step.after;
    }
  }
  return steps;
}

/** What a state is, as text. */
export function told(state: State): string {
  const rows = [...state.rows].sort(([a], [b]) => a - b).map(([n, data]) => `${n}:${data}`);
  const { other, index, version } = state;
  return JSON.stringify({ rows, other: other && [...other].sort((a, b) => a - b), index, version });
}

/** The same of a database. A row whose letters are not all one is told as it is not. */
export function found(db: Connection): string {
  const has = (name: string): boolean =>
    db.prepare(`SELECT 1 FROM sqlite_schema WHERE name = '${name}'`).all().length > 0;
  const rows = has("t")
    ? (db
        .prepare(
          `SELECT n || ':' || length(data) || substr(data, 1, 1) ||
           iif(trim(data, substr(data, 1, 1)) = '', '', ' and others') AS row FROM t ORDER BY n`,
        )
        .all() as { row: string }[])
    : [];
  const other = has("other")
    ? (db.prepare("SELECT a FROM other ORDER BY a").all() as { a: number }[])
    : null;
  const { user_version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
  return JSON.stringify({
    rows: rows.map(({ row }) => row),
    other: other?.map(({ a }) => a) ?? null,
    index: has("by_data"),
    version: user_version,
  });
}

// --- internal ---

function* stepsOf(act: Act, state: State, aux: string): Generator<Step> {
  if ("put" in act) {
    let now = state;
    for (let i = 0; i < act.put; i++) {
      const [sql, after] = insert(now, 1, act.bytes);
      now = after;
      yield step(sql, after, true);
    }
  }
  if ("transaction" in act) {
    const [sql, after] = insert(state, act.transaction, act.bytes);
    yield step(`BEGIN; ${sql}; ${act.end}`, act.end === "COMMIT" ? after : state);
  }
  if ("savepoint" in act) yield savepoints(act, state);
  if ("update" in act) {
    const letter = letterOf(state);
    const rows = new Map(state.rows);
    for (const n of rows.keys()) if (n % act.update === 0) rows.set(n, `${act.bytes}${letter}`);
    const data = dataOf(act.bytes, letter);
    yield step(`UPDATE t SET data = ${data} WHERE n % ${act.update} = 0`, { ...state, rows }, true);
  }
  if ("remove" in act) {
    const gone = (n: number): boolean => n <= act.remove && n % 3 === 0;
    const rows = new Map([...state.rows].filter(([n]) => !gone(n)));
    yield step(`DELETE FROM t WHERE n <= ${act.remove} AND n % 3 = 0`, { ...state, rows }, true);
  }
  if ("schema" in act) yield* schema(act.schema, state);
  if ("version" in act) {
    yield step(`PRAGMA user_version = ${act.version}`, { ...state, version: act.version });
  }
  if ("maintain" in act) yield step(act.maintain, state);
  if ("attached" in act) {
    // The other database comes along; only the replicated one is looked at.
    const [sql, after] = insert(state, act.attached, 50);
    yield step(`ATTACH '${aux}' AS aux`, state);
    yield step("CREATE TABLE IF NOT EXISTS aux.x(a)", state);
    yield step(
      `BEGIN; INSERT INTO aux.x VALUES(1); ${sql}; INSERT INTO aux.x VALUES(2); COMMIT`,
      after,
    );
    yield step("DETACH aux", after);
  }
  if ("reader" in act) yield { sql: null, also: "reader", single: false, after: state };
  if ("durable" in act) yield { sql: null, also: "durable", single: false, after: state };
}

function step(sql: string, after: State, single = false): Step {
  return { sql, single, after };
}

function savepoints(
  { savepoint, undone, nested }: Extract<Act, { savepoint: number }>,
  state: State,
): Step {
  const [before, first] = insert(state, 1, 100);
  const [inside, second] = insert(first, savepoint, 700);
  const [last, third] = insert(undone ? first : second, 1, 30);
  const inner = nested ? "SAVEPOINT b; DELETE FROM t; ROLLBACK TO b; RELEASE b;" : "";
  const sql = `BEGIN IMMEDIATE; ${before}; SAVEPOINT a; ${inside}; ${inner}
    ${undone ? "ROLLBACK TO a;" : ""} RELEASE a; ${last}; COMMIT`;
  return step(sql, third);
}

function* schema(what: Extract<Act, { schema: string }>["schema"], state: State): Generator<Step> {
  const other = state.other ?? [];
  const next = Math.max(0, ...other) + 1;
  const create = "CREATE TABLE IF NOT EXISTS other(a, b UNIQUE)";
  const fill = `INSERT INTO other VALUES(${next}, 'b${next}')`;
  if (what === "create") yield step(create, { ...state, other }, true);
  if (what === "fill" && state.other) yield step(fill, { ...state, other: [...other, next] }, true);
  if (what === "drop") yield step("DROP TABLE IF EXISTS other", { ...state, other: null }, true);
  if (what === "index") {
    const sql = "CREATE INDEX IF NOT EXISTS by_data ON t(substr(data, 1, 40))";
    yield step(sql, { ...state, index: true }, true);
  }
  if (what === "no index") {
    yield step("DROP INDEX IF EXISTS by_data", { ...state, index: false }, true);
  }
  if (what === "both") {
    yield step(`BEGIN; ${create}; ${fill}; COMMIT; BEGIN; DELETE FROM t; ROLLBACK`, {
      ...state,
      other: [...other, next],
    });
  }
}

function insert(state: State, count: number, bytes: number): [sql: string, after: State] {
  const first = Math.max(0, ...state.rows.keys()) + 1;
  const letter = letterOf(state);
  const rows = new Map(state.rows);
  for (let n = first; n < first + count; n++) rows.set(n, `${bytes}${letter}`);
  const data = dataOf(bytes, letter);
  const sql =
    count === 1
      ? `INSERT INTO t VALUES(${first}, ${data})`
      : `INSERT INTO t WITH RECURSIVE c(n) AS (SELECT ${first} UNION ALL SELECT n + 1 FROM c
         WHERE n < ${first + count - 1}) SELECT n, ${data} FROM c`;
  return [sql, { ...state, rows }];
}

/** Another one for each number of rows: what came later is told from what came before. */
function letterOf({ rows }: State): string {
  return String.fromCharCode(97 + ((Math.max(0, ...rows.keys()) * 7 + rows.size) % 26));
}

function dataOf(bytes: number, letter: string): string {
  return `printf('%.*c', ${bytes}, '${letter}')`;
}
