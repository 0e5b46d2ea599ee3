/**
 * Shortens an archive again and again, to later and later moments: `node shortening.ts ADDRESS FROM TO`; or, without moments,
 * by a message or two, whatever those are, until it is empty. It begins when told, says what it was refused, and ends with
 * "done".
 */
import { once } from "node:events";
import { openStream } from "../../src/stream/open.ts";
import { shorten } from "../../src/stream/retention.ts";

const ROUNDS = 40;
const [address = "", from = "", to = ""] = process.argv.slice(2);
const { log } = await openStream(address);
const { signal } = new AbortController();
console.log("ready");
await once(process.stdin, "data");
for (let round = 1; from !== "" && round <= ROUNDS; round++) {
  const moment = Number(from) + ((Number(to) - Number(from)) * round) / ROUNDS;
  const now = Date.now();
  try {
    await shorten(log, null, now - moment, { signal, now });
  } catch (error) {
    console.log(`${(error as { code?: string }).code} ${(error as Error).message}`);
  }
}
for (let isEmpty = from !== ""; !isEmpty; ) {
  const { first, last } = await log.ends();
  await log.purge(Math.min(first + 1 + (process.pid % 2), last + 1));
  isEmpty = first > last;
}
console.log("done");
process.stdin.destroy();
