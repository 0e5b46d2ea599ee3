/**
 * The process that will be killed: commits transfers as fast as it can, and tells its parent of
 * each one after its commit has returned. Usage: ledger-child.ts PRIMARY REPLICA SEED
 *
 * An acknowledgement is one short write to a pipe (descriptor 3): once the call has returned, the
 * line is in the kernel and reaches the parent whatever becomes of this process.
 */
import { writeSync } from "node:fs";
import { DatabaseSync } from "../src/index.ts";
import { accounts, createBank, transferIn } from "./bank.ts";
import { random } from "./random.ts";

const [primary, replica, seed] = process.argv.slice(2) as [string, string, string];
const below = random(Number(seed));

const db = new DatabaseSync(primary, { replicas: [replica] });
createBank(db);
const commit = transferIn(db);

for (let id = 1; ; id++) {
  const debtor = 1 + below(accounts);
  const creditor = 1 + ((debtor + below(accounts - 1)) % accounts);
  const cents = 1 + below(100);
  const before = process.hrtime.bigint();
  commit({ id, debtor, creditor, cents });
  const micros = (process.hrtime.bigint() - before) / 1000n;
  writeSync(3, `${id} ${debtor} ${creditor} ${cents} ${micros}\n`);
}
