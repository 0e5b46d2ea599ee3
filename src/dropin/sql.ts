/**
 * What the text of a statement tells: can it commit, and which pragma does it set?
 *
 * SQLite's own answer (`sqlite3_stmt_readonly`) does not serve: it calls BEGIN, COMMIT and RELEASE
 * read-only. So the first word decides, and behind WITH the first one outside parentheses that
 * starts a query. When in doubt it can commit: that costs a look at the log and nothing else.
 */
import { Tokens } from "./tokens.ts";

export interface Statement {
  /** False only if executing it cannot end a transaction that changes the file. */
  readonly canCommit: boolean;
  /** What it sets or asks, if it is a PRAGMA; behind EXPLAIN too, where SQLite still sets it. */
  readonly pragma: Pragma | null;
}

/** All in lower case and without quotes. */
export interface Pragma {
  readonly schema: string | null;
  readonly name: string;
  /** Null if it only asks. */
  readonly value: string | null;
}

/** The statements of a text, as `exec` would run them. A trigger's body counts as several. */
export function* statementsIn(sql: string): Generator<Statement> {
  const tokens = new Tokens(sql);
  while (findStatement(tokens)) {
    yield readStatement(tokens);
    while (!tokens.ended) tokens.next();
  }
}

/** The one statement that `prepare` would take from a text; null if there is none. */
export function firstStatement(sql: string): Statement | null {
  const tokens = new Tokens(sql);
  return findStatement(tokens) ? readStatement(tokens) : null;
}

// --- internal ---

const QUERIES = new Set(["SELECT", "VALUES"]);
const STARTS = new Set([...QUERIES, "INSERT", "UPDATE", "DELETE", "REPLACE"]);

/** Goes to the next statement's first token. */
function findStatement(tokens: Tokens): boolean {
  do tokens.next();
  while (tokens.at(";"));
  return !tokens.ended;
}

/** Reads as much of the statement as it takes. */
function readStatement(tokens: Tokens): Statement {
  const explained = tokens.keyword === "EXPLAIN";
  if (explained) skipExplain(tokens);
  if (tokens.keyword === "PRAGMA") return { canCommit: !explained, pragma: readPragma(tokens) };
  if (explained) return { canCommit: false, pragma: null };
  if (tokens.keyword === "WITH") skipWith(tokens);
  return { canCommit: !QUERIES.has(tokens.keyword), pragma: null };
}

/** EXPLAIN [QUERY PLAN] statement */
function skipExplain(tokens: Tokens): void {
  tokens.next();
  if (tokens.keyword !== "QUERY") return;
  tokens.next();
  tokens.next();
}

/** WITH name AS (query), … statement */
function skipWith(tokens: Tokens): void {
  let depth = 0;
  do {
    tokens.next();
    if (tokens.at("(")) depth++;
    else if (tokens.at(")")) depth--;
    else if (depth === 0 && STARTS.has(tokens.keyword)) return;
  } while (!tokens.ended);
}

/** PRAGMA [schema.]name [= value | (value)] */
function readPragma(tokens: Tokens): Pragma {
  let schema: string | null = null;
  let name = tokens.next().text.toLowerCase();
  tokens.next();
  if (tokens.at(".")) {
    schema = name;
    name = tokens.next().text.toLowerCase();
    tokens.next();
  }
  if (!tokens.at("=") && !tokens.at("(")) return { schema, name, value: null };
  let value = "";
  for (tokens.next(); !tokens.ended && !tokens.at(")"); tokens.next()) {
    value += tokens.current.text.toLowerCase(); // a sign and its number are two tokens
  }
  return { schema, name, value };
}
