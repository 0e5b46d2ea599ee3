/**
 * `npm start`: the promise of this package, tried on your own machine.
 *
 * Without arguments a ledger under load loses its process (SIGKILL) and then its disk (rm -rf), is
 * restored from the replica, and every transfer that was acknowledged is looked up. With two paths
 * a database of yours gets its first live copy; with an address, too, that is kept in step and shown.
 */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseAddress } from "../src/serve/address.ts";
import { firstCopy } from "./first-copy.ts";
import { follow } from "./follow.ts";
import { survive } from "./survive.ts";

const usage = `Usage:
  npm start                            a ledger is killed, its disk burnt, and nothing is lost
  npm start -- DATABASE REPLICA        make the first live copy of a database of yours

  npm start -- DATABASE REPLICA --listen 127.0.0.1:9090
                                       and go on following it, with a page at that address

Options of the first form:
  --seed N      repeat the random choices of a run (it prints its seed)
  --seconds N   how long to write before the kill, at most (default 8)

Exit status: 0 done and nothing lost, 1 failed, 2 usage.`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<0 | 1 | 2> {
  const { values, positionals } = parse(args) ?? {};
  if (!values || !positionals) return misuse();
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
  const seconds = Number(values.seconds ?? 8);
  if (!Number.isSafeInteger(seed) || !(seconds > 0)) return misuse();
  if (positionals.length === 0 && !values.listen) return await survive(seed, seconds);

  const [database, replica] = positionals;
  if (database === undefined || replica === undefined || positionals.length > 2) return misuse();
  if (!existsSync(database)) return misuse(`There is no file ${database}.`);
  const { listen } = values;
  if (listen === undefined) return await firstCopy(database, replica, true);
  try {
    parseAddress(listen, false); // not only after the copy
  } catch (error) {
    return misuse((error as Error).message);
  }
  return (await firstCopy(database, replica, false)) || (await follow(database, replica, listen));
}

function parse(args: string[]) {
  try {
    const options = {
      seed: { type: "string" },
      seconds: { type: "string" },
      listen: { type: "string" },
      help: { type: "boolean", short: "h" },
    } as const;
    return parseArgs({ args, allowPositionals: true, options });
  } catch {
    return null;
  }
}

function misuse(reason?: string): 2 {
  console.error(reason === undefined ? usage : `${reason}\n\n${usage}`);
  return 2;
}
