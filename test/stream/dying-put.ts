/** A process that dies while it writes an object: `node dying-put.ts ADDRESS`. Says when part of it was written. */
import fs from "node:fs";
import { openStream } from "../../src/stream/open.ts";

const [address = ""] = process.argv.slice(2);
const { log } = await openStream(address);
async function* chunks(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(1_500_000).fill(7);
  fs.writeSync(1, "written\n");
  await new Promise((resolve) => setTimeout(resolve, 2 ** 30)); // until it is killed
}
await log.put("dies", chunks(), new AbortController().signal);
