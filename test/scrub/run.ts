/**
 * `npm run test:rot -- --flips 1000 --seed S [--live]`: flips a bit in each of so many random pages of either copy,
 * in rounds of a few, and has `scrub` find, attribute and heal them; with `--live` a process that has them in use.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../crash/random.ts";
import { Subject } from "./random.ts";

const { values } = parseArgs({
  options: {
    live: { type: "boolean", default: false },
    flips: { type: "string", default: "1000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [flips, seed] = [Number(values.flips), Number(values.seed)];
console.log(`${flips} flips from seed ${seed}`);
const began = performance.now();
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-rot-"));
try {
  const subject = new Subject(directory, 5000);
  const random = new Random(seed);
  let rounds = 0;
  for (let done = 0; done < flips; rounds++) {
    const count = Math.min(flips - done, random.between(1, 20));
    if (values.live) await subject.liveRound(random, count);
    else await subject.round(random, count);
    done += count;
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(
    `${flips} pages in ${rounds} rounds: found, attributed, healed, equal byte for byte; ${seconds} s`,
  );
} finally {
  fs.rmSync(directory, { recursive: true, force: true });
}
