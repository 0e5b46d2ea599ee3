/**
 * A process that examines lives, one after the other: reads a line of JSON for each, an `Order`, and answers
 * with a line of JSON, its findings.
 */
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { examine, examineLives, examineTape, type Findings } from "./lives.ts";
import type { Subject } from "./subject.ts";

export interface Order {
  readonly seed: number;
  /** How many states of each life. */
  readonly states: number;
  /** Three lives of the seed, a life of this subject's, or one that was recorded. */
  readonly what:
    | "lives"
    | { readonly tape: string }
    | { readonly subject: Subject; readonly ignoring: string | null };
}

/** States are many and short-lived: where there is memory for files, no disk need be worn by them. */
const PLACE = fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();

const scratch = fs.mkdtempSync(join(PLACE, "lockstep-powercut-"));
process.on("exit", () => fs.rmSync(scratch, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await obey(JSON.parse(line) as Order))}\n`);
}
process.exit(); // threads and processes that are kept warm do not keep this one

async function obey({ what, seed, states }: Order): Promise<Findings> {
  if (what === "lives") {
    // A long run goes on with the next seed: one that cannot be examined is a finding.
    return await examineLives(scratch, seed, states).catch((error: Error) => ({
      ...{ drawn: 0, distinct: 0, cold: 0, operations: 0 },
      problems: [{ seed, state: -1, what: `not examined: ${error.stack}` }],
    }));
  }
  if ("tape" in what) return examineTape(scratch, what.tape, seed, states);
  const ignoring = what.ignoring === null ? null : new RegExp(what.ignoring);
  return examine(scratch, what.subject, seed, states, { ignoring });
}
