/** What a database holds, as far as SQL can tell: how far it has come, a digest of every row. */
import { createHash } from "node:crypto";
import type { Connection } from "./perform.ts";

export interface Contents {
  /** The highest transaction number in it, 0 before the first. */
  readonly found: number;
  /** "ok", or what SQLite or Lockstep complains of. */
  readonly integrity: string;
  readonly digest: string;
}

export function contentsOf(db: Connection): Contents {
  return { found: foundIn(db), integrity: integrityOf(db), digest: digestOf(db) };
}

export function foundIn(db: Connection): number {
  const [table] = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'done'").all();
  if (!table) return 0;
  // A hole in the numbers would be a lost transaction: count as if everything after it were gone.
  const row = db
    .prepare("SELECT n FROM done WHERE n + 1 NOT IN (SELECT n FROM done) ORDER BY n LIMIT 1")
    .get() as { n: number } | undefined;
  return row?.n ?? 0;
}

function integrityOf(db: Connection): string {
  const rows = db.prepare("PRAGMA integrity_check").all() as { integrity_check: string }[];
  return rows.map((row) => row.integrity_check).join("; ");
}

/**
 * Tables in the order of their names, rows in the order of their keys. Left out is what may differ
 * between equal contents: SQLite's own statistics, and how the full-text index lays out its words.
 */
function digestOf(db: Connection): string {
  const hash = createHash("sha256");
  const objects = db
    .prepare(
      "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name",
    )
    .all() as { type: string; name: string; sql: string | null }[];
  for (const { type, name, sql } of objects) {
    hash.update(`${name}\n${sql}\n`);
    if (type !== "table" || name.startsWith("words_")) continue;
    const key = sql?.includes("WITHOUT ROWID") ? "1" : "rowid";
    for (const row of db.prepare(`SELECT * FROM "${name}" ORDER BY ${key}`).all()) {
      for (const value of Object.values(row as object)) {
        hash.update(value instanceof Uint8Array ? value : `${typeof value} ${value}\n`);
      }
    }
  }
  hash.update(JSON.stringify(db.prepare("PRAGMA user_version").get()));
  return hash.digest("hex").slice(0, 16);
}
