/** What a suite gets for better-sqlite3. */
import ours from "../../src/better-sqlite3.ts";
import { attach } from "./attach.ts";

const Database = attach(ours);

// `require()` gets the class itself, as from the original.
export { Database as "module.exports" };
