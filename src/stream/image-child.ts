/** The process that reads a database file for image.ts: `node image-child.js FILE`, its bytes on the standard output. */
import fs from "node:fs";
import { pipeline } from "node:stream/promises";

process.stdin.on("end", () => process.exit(1)).resume(); // nobody is left who reads
try {
  const file = fs.createReadStream(process.argv[2] as string, { highWaterMark: 1 << 20 });
  await pipeline(file, process.stdout);
  process.exit(0);
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
