/** Databases of a given size, made once a run: orders with an index, and documents of random bytes. */
import { randomBytes } from "node:crypto";
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import Plain from "better-sqlite3";
import { sync } from "./ledger.ts";

/** The path of a database of so many MB; only to be read. */
export function template(scratch: string, megabytes: number): string {
  const path = join(scratch, `template-${megabytes}.db`);
  if (existsSync(path)) return path;
  make(`${path}-new`, megabytes * 1e6);
  sync(`${path}-new`);
  renameSync(`${path}-new`, path);
  return path;
}

/** Rewrites one of a hundred documents, which are nearly all of the pages. */
export const CHANGE_ONE_PERCENT =
  "UPDATE document SET bytes = randomblob(length(bytes)) WHERE id % 100 = ?";

function make(path: string, bytes: number): void {
  const db = new Plain(path);
  db.exec(`
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE customer_order (
      id INTEGER PRIMARY KEY, customer INTEGER, cents INTEGER, note TEXT
    );
    CREATE INDEX order_customer ON customer_order (customer);
    CREATE TABLE document (id INTEGER PRIMARY KEY, bytes BLOB);
  `);
  const order = db.prepare("INSERT INTO customer_order (customer, cents, note) VALUES (?, ?, ?)");
  const document = db.prepare("INSERT INTO document (bytes) VALUES (?)");
  const pages = db.prepare("PRAGMA page_count").pluck();
  let i = 0;
  while ((pages.get() as number) * 4096 < bytes * 0.99) {
    db.exec("BEGIN");
    for (const end = i + 50; i < end; i++) {
      for (let line = 0; line < 10; line++) {
        order.run((i * 7919) % 100_000, line * 100, `order ${i} line ${line}`);
      }
      document.run(randomBytes(4000 + ((i * 37) % 12_000)));
    }
    db.exec("COMMIT");
  }
  db.exec("PRAGMA journal_mode = DELETE");
  db.close();
}
