/** Opens a primary with its replica and closes it: `node rest.ts PRIMARY REPLICA`. */
import { DatabaseSync } from "../../src/index.ts";

const [primary = "", replica = ""] = process.argv.slice(2);
new DatabaseSync(primary, { replicas: [replica] }).close();
