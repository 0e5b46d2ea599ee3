/**
 * One opening: first-copy-trial.ts PRIMARY REPLICA. Prints how long the constructor took, in
 * milliseconds; it returns when both copies are in step and on stable storage.
 */
import { DatabaseSync } from "../src/index.ts";

const [primary, replica] = process.argv.slice(2) as [string, string];
const before = performance.now();
const db = new DatabaseSync(primary, { replicas: [replica] });
const ms = performance.now() - before;
db.close();
console.log(JSON.stringify({ ms }));
