/**
 * A process that writes a primary whose replicas are these, until it is killed: `node writer.ts PRIMARY FIRST REPLICA…`. Prints
 * the number of each row once it is acknowledged.
 */
import fs from "node:fs";
import { DatabaseSync } from "../../src/index.ts";

const [primary = "", first = "1", ...replicas] = process.argv.slice(2);
const db = new DatabaseSync(primary, { replicas, checkpointBytes: 100_000 });
db.exec("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, data BLOB)");
const insert = db.prepare("INSERT INTO t VALUES(?, randomblob(?))");
for (let n = Number(first); ; n++) {
  insert.run(n, (n * 977) % 5000);
  fs.writeSync(1, `${n}\n`);
}
