/**
 * The process that reads a database file for image.ts: `node image-child.js FILE`, its bytes on the standard output.
 *
 * It does not call process.exit: Node.js then waits for V8's threads, one of which may wait for the main thread to
 * collect garbage, and so neither ends (seen with 26.10, once in some thousand). It would hang with all of its bytes written.
 */
import fs from "node:fs";
import { pipeline } from "node:stream/promises";

const { stdin } = process;
stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume(); // nobody is left who reads
try {
  const file = fs.createReadStream(process.argv[2] as string, { highWaterMark: 1 << 20 });
  await pipeline(file, process.stdout);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
stdin.destroy(); // nothing is left to wait for: it ends by itself
