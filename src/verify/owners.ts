/**
 * Which table or index does a page belong to? SQLite's dbstat virtual table knows.
 */
import type { DatabaseSync } from "node:sqlite";
import { isOfSystem } from "../driver.ts";
import type { Snapshot } from "./snapshot.ts";

export interface DifferentPage {
  /** Its number, from 1. */
  readonly page: number;
  /** The table or index it belongs to; null if to none: a free page, or a tree that is damaged. */
  readonly owner: string | null;
}

/** A page that belongs to nothing in the first copy may belong to something in the second. */
export function nameOwners(
  pages: readonly number[],
  left: Snapshot,
  right: Snapshot,
): DifferentPage[] {
  if (pages.length === 0) return [];
  const owners = left.query((db) => ownersOf(db, new Set(pages)));
  const rest = new Set(pages.filter((page) => !owners.has(page)));
  const others = rest.size > 0 ? right.query((db) => ownersOf(db, rest)) : owners;
  return pages.map((page) => ({ page, owner: owners.get(page) ?? others.get(page) ?? null }));
}

/**
 * The owners of `pages`, as far as they can be told: a free page has none, nor has a page of a tree
 * that is damaged above it. Reads every page of the database.
 */
export function ownersOf(db: DatabaseSync, pages: ReadonlySet<number>): Map<number, string> {
  const owners = new Map<number, string>();
  for (const tree of treesOf(db)) {
    try {
      const rows = db.prepare("SELECT pageno FROM dbstat WHERE name=?").iterate(tree);
      for (const { pageno } of rows as Iterable<{ pageno: number }>) {
        if (pages.has(pageno)) owners.set(pageno, tree);
      }
    } catch {
      // This tree is damaged, or this SQLite has no dbstat. Its pages stay without an owner; what
      // is wrong with it is integrity_check's to say.
    }
    if (owners.size === pages.size) break;
  }
  return owners;
}

/**
 * What SQLite says of the whole database: "ok", or its findings, one a line.
 * @throws SQLite's error if the system did not let it read all: that says nothing of the database
 */
export function integrityOf(db: DatabaseSync): string {
  let found: string;
  try {
    const rows = db.prepare("PRAGMA integrity_check").all();
    found = rows.map((row) => String(Object.values(row)[0])).join("\n");
  } catch (error) {
    if (isOfSystem(error)) throw error;
    return (error as Error).message; // a schema that cannot be read, a collation that is unknown
  }
  // What it could not read within a tree it tells as a finding, with the number of its error.
  for (const [line, number] of found.matchAll(/^.*error code[= ](\d+).*$/gm)) {
    const error = unread(line, Number(number));
    if (isOfSystem(error)) throw error;
  }
  return found;
}

// --- internal ---

/** As node:sqlite would throw it. */
function unread(line: string, errcode: number): Error {
  const error = new Error(`integrity_check could not read all: ${line}`);
  return Object.assign(error, { code: "ERR_SQLITE_ERROR", errcode });
}

function treesOf(db: DatabaseSync): string[] {
  try {
    const rows = db.prepare("SELECT name FROM sqlite_schema WHERE rootpage > 0").all();
    return ["sqlite_schema", ...rows.map((row) => String(row["name"]))];
  } catch {
    return ["sqlite_schema"];
  }
}
