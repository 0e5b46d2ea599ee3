/**
 * A program as there are many: it writes a database all the time, with a replica that it may go on without,
 * and shows its replication. Prints where; ends when its standard input does.
 *
 *   node program.ts PRIMARY REPLICA
 */
import { DatabaseSync } from "../../src/index.ts";
import { observe } from "../../src/observe/index.ts";

const [primary = "", replica = ""] = process.argv.slice(2);
const db = new DatabaseSync(primary, {
  ...{
    replicas: [replica],
    onReplicaFailure: "degrade",
    minCopies: 1,
    checkpointBytes: 256 * 1024,
  },
});
db.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)");
const insert = db.prepare("INSERT INTO t (data) VALUES (zeroblob(500))");
const observation = await observe(db, { listen: "127.0.0.1:0" });
const load = setInterval(() => insert.run(), 5);
console.log(`http://${observation.address}/`);

process.stdin.resume().once("end", async () => {
  clearInterval(load);
  await observation.close();
  db.close();
});
