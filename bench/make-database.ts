/**
 * Makes a database of a given size: orders with an index and documents of random bytes.
 * Usage: node bench/make-database.ts PATH [--bytes 2e9]
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { bytes: { type: "string", default: "2e9" } },
});
const path = positionals[0];
if (path === undefined || existsSync(path)) throw new Error("Give the path of a file to be made");

const db = new DatabaseSync(path);
db.exec(`
  PRAGMA journal_mode = OFF;
  PRAGMA synchronous = OFF;
  CREATE TABLE customer_order (id INTEGER PRIMARY KEY, customer INTEGER, cents INTEGER, note TEXT);
  CREATE TABLE document (id INTEGER PRIMARY KEY, bytes BLOB);
`);
const order = db.prepare("INSERT INTO customer_order (customer, cents, note) VALUES (?, ?, ?)");
const document = db.prepare("INSERT INTO document (bytes) VALUES (?)");
const size = db.prepare(
  "SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size",
);

while ((size.get()?.["bytes"] as number) < Number(values.bytes)) {
  db.exec("BEGIN");
  for (let i = 0; i < 1000; i++) {
    for (let j = 0; j < 10; j++) order.run((i * 7919) % 100_000, j * 100, `order ${i} line ${j}`);
    document.run(randomBytes(4000 + ((i * 37) % 12_000)));
  }
  db.exec("COMMIT");
}
db.exec("CREATE INDEX order_customer ON customer_order (customer)");
db.exec("PRAGMA journal_mode = DELETE");
db.close();
