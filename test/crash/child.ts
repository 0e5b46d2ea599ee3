/**
 * The process that is killed: opens the copies, goes on with the plan where the primary stands, and
 * reports on descriptor 3. A line is written after the call that it reports has returned.
 *
 *   opening         about to open both copies
 *   opened N        both are open; the primary holds N (so N counts as acknowledged)
 *   written N       with durability `barrier`: the call whose last transaction is N has returned
 *   acknowledged N  that transaction is durable: with `commit` the call has returned, with `barrier`
 *                   durableSync() after it, or the close
 *   closing         about to close
 *   closed          closed; it opens again or ends
 */
import { writeSync } from "node:fs";
import type { Durability } from "../../src/options.ts";
import { foundIn } from "./contents.ts";
import { type DriverName, type OpenReplicated, replicated } from "./open.ts";
import { type Connection, perform } from "./perform.ts";
import { callAt } from "./plan.ts";
import { Random } from "./random.ts";

export interface ChildJob {
  readonly seed: number;
  /** Tells one life of the pair from the next. */
  readonly generation: number;
  readonly primary: string;
  readonly replica: string;
  readonly driver: DriverName;
  readonly durability: Durability;
  readonly checkpointBytes: number;
  /** Close after so many calls, then open again or, the last time, end. */
  readonly callsUntilClose: readonly number[];
}

if (import.meta.main) {
  const job = JSON.parse(process.argv[2] ?? "") as ChildJob;
  live(job, await replicated(job.driver));
}

function live(job: ChildJob, open: OpenReplicated): void {
  const random = new Random(job.seed, job.generation, 4);
  const { primary, replica, durability, checkpointBytes } = job;
  const options = { replicas: [replica], durability, checkpointBytes };
  const connect = (): Connection => open(primary, options);
  for (const calls of job.callsUntilClose) {
    tell("opening");
    const db = connect();
    // Two connections share one hub; the plan goes through either.
    const second = random.oneIn(4) ? connect() : db;
    let n = foundIn(db);
    tell(`opened ${n}`);
    // A small cache spills uncommitted pages into the log.
    if (random.oneIn(2)) db.exec("PRAGMA cache_size = 20");

    for (let i = 0; i < calls; i++) {
      const call = callAt(job.seed, n + 1);
      perform(random.oneIn(3) ? second : db, job.seed, call);
      n = call.last;
      if (durability === "barrier") {
        tell(`written ${n}`);
        if (i % 10 !== 9 && !random.oneIn(4)) continue;
        db.replication?.durableSync();
      }
      tell(`acknowledged ${n}`);
    }

    tell("closing");
    if (second !== db) second.close();
    db.close();
    if (durability === "barrier") tell(`acknowledged ${n}`);
    tell("closed");
  }
}

function tell(line: string): void {
  writeSync(3, `${line}\n`);
}
