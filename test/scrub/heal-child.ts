/**
 * A process that has copies in use and looks for rot, until so many pages are healed; then it closes them.
 *
 *   node heal-child.ts PAGES PRIMARY REPLICA
 */
import { DatabaseSync } from "../../src/index.ts";

const [pages, primary, replica] = process.argv.slice(2) as [string, string, string];
const db = new DatabaseSync(primary, { replicas: [replica], scrubBytesPerSecond: 100e6 });
let left = Number(pages);
const alive = setInterval(() => {}, 1000);
db.replication?.on("healed", () => {
  if (--left > 0) return;
  clearInterval(alive);
  db.close();
});
