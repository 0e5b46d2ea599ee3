/**
 * `npm run test:reader -- --minutes 10 --seed S`: readers of a replica while it is written, see watch.ts.
 * The seed repeats what is written and when transactions are held, not how the processes interleave.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { missing, watch } from "./watch.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
const reason = missing();
if (reason) throw new Error(reason);
console.log(`${minutes} minutes from seed ${seed}`);
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-reader-"));
const report = await watch({
  ...{ directory, seed, seconds: minutes * 60, lives: 2, checkpoints: minutes * 10 },
  ...{ checkEvery: 50, holdEvery: 400, holdMs: 5000, lifeSeconds: 20 },
});
const { readers, problems, ...figures } = report;
console.log(figures);
for (const [name, reader] of Object.entries(readers)) console.log(name, reader);
if (problems.length === 0) {
  fs.rmSync(directory, { recursive: true });
  console.log("every read consistent, none went back, the copies are equal");
} else {
  console.log(`FAILED, see ${directory}\n  ${problems.join("\n  ")}`);
  process.exitCode = 1;
}
