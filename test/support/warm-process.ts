/**
 * A process that performs one task after the other, each as if it had been started with it: reads a line of
 * JSON for each, the script and its argument, and when that is done prints a last line, `ended` and what
 * would be its exit code. Ends with its input.
 */
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

let run = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { script, task } = JSON.parse(line) as { script: string; task: string };
  process.argv[2] = task;
  process.exitCode = 0;
  await import(`${pathToFileURL(script).href}?run=${run++}`);
  process.stdout.write(`ended ${process.exitCode}\n`);
}
process.exitCode = 0;
