/**
 * Goal: a process may be killed at any instant; every acknowledged transaction is in every copy,
 * each copy is a sound database at a transaction boundary, and reopening makes the copies equal.
 * Method: one pair of copies, several lives. Each ends by SIGKILL, and each check starts from what
 * that left behind:
 *   (a) both are reopened with Lockstep,
 *   (b) a copy of the replica is opened alone, first by the `sqlite3` command,
 *   (c) a copy of the primary is opened alone,
 *   (d) the primary is taken for lost, and restored from a copy of the replica.
 * A plain database that repeats the same transactions says what each must hold. The next life
 * starts from what the kill left, or now and then from the copies that (a) has closed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { CheckJob } from "./check.ts";
import type { Checker } from "./checker.ts";
import { judge } from "./judge.ts";
import { keep, layOut, putBack } from "./left.ts";
import { chooseMoment, type Life, live } from "./life.ts";
import { driverNames } from "./open.ts";
import { callAt } from "./plan.ts";
import { prepare } from "./prepare.ts";
import { Random } from "./random.ts";

export interface RunReport {
  readonly seed: number;
  readonly lives: number;
  readonly kills: number;
  readonly acknowledged: number;
  /** Empty if every promise was kept. */
  readonly problems: readonly string[];
  /** Where the files lie, if something is wrong. */
  readonly directory: string;
}

/** A canary's lie: what the checks must not overlook. */
export type Sabotage = keyof typeof sabotages;

const sabotages = {
  "one more was acknowledged": (job: CheckJob) => ({ ...job, lo: job.hi + 1, hi: job.hi + 1 }),
  "the replica lost a transaction": (job: CheckJob) => {
    alter(job.b, `DELETE FROM done WHERE n = ${job.lo}`);
    return job;
  },
  "the replica holds another value": (job: CheckJob) => {
    alter(job.b, "UPDATE done SET note = 'altered' WHERE n = 1");
    return job;
  },
};

function alter(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

const shell = spawnSync("sqlite3", ["--version"]).status === 0 ? "sqlite3" : null;

export async function run(
  seed: number,
  checker: Checker,
  sabotage: Sabotage | null = null,
): Promise<RunReport> {
  const directory = mkdtempSync(join(tmpdir(), "lockstep-crash-"));
  const random = new Random(seed);
  const { primary, replica, oracle } = prepare(directory, random);
  const lives = random.between(1, 3);
  const report = { seed, lives, kills: 0, acknowledged: 0, problems: [] as string[], directory };
  // What a copy may hold: at least what was acknowledged, at most what was in flight besides.
  let lo = 0;
  let hi = callAt(seed, 1).last;

  for (let generation = 1; generation <= lives; generation++) {
    const durability = random.oneIn(3) ? "barrier" : "commit";
    const moment = chooseMoment(random, durability);
    const driver = random.pick(driverNames);
    const checkpointBytes = random.pick([20_000, 60_000, 200_000, 400_000, 1_000_000]);
    const callsUntilClose = closes(random, moment.line === "closing");
    const copies = { primary, replica, driver, durability, checkpointBytes } as const;
    const what = { seed, generation, ...copies, callsUntilClose };
    const life = await live(what, moment);
    const name = `life ${generation}, killed ${moment.delayMs} ms after "${moment.line}"`;
    if (life.failure !== null) {
      report.problems.push(`${name}: the child failed: ${life.failure}`);
      return report;
    }
    if (!life.closed) report.kills++;
    [lo, hi] = bounds(seed, life, lo, hi);
    report.acknowledged = lo;

    keep(directory);
    const job: CheckJob = {
      ...{ seed, lo, hi, oracle, shell, reopenWith: random.pick(driverNames) },
      a: { primary, replica },
      b: replica.replace(directory, layOut(directory, "b")),
      c: primary.replace(directory, layOut(directory, "c")),
      d: replica.replace(directory, layOut(directory, "d")),
    };
    const { problems, found } = await inspect(checker, job, sabotage);
    report.problems.push(...problems.map((text) => `${name}: ${text}`));
    if (problems.length > 0) return report;
    // What an application was shown after a reopening is as good as acknowledged.
    if (random.oneIn(4)) lo = hi = found;
    else putBack(directory);
  }
  rmSync(directory, { recursive: true });
  return report;
}

function bounds(seed: number, life: Life, lo: number, hi: number): [number, number] {
  if (life.acknowledged === null) return [lo, hi];
  const last = life.acknowledged;
  return [last, life.closed ? last : callAt(seed, (life.written ?? last) + 1).last];
}

/** Two closes in a life that is to be killed in one; else mostly none before the kill. */
function closes(random: Random, soon: boolean): number[] {
  if (soon) return [random.between(1, 60), random.between(1, 60)];
  return [random.oneIn(3) ? random.between(1, 100) : 100_000, 100_000];
}

async function inspect(
  checker: Checker,
  job: CheckJob,
  sabotage: Sabotage | null,
): Promise<{ problems: string[]; found: number }> {
  const told = sabotage === null ? job : sabotages[sabotage](job);
  try {
    const report = await checker.check(told);
    return { problems: judge(told, report), found: report.reopened.found };
  } catch (error) {
    return { problems: [`the check failed: ${(error as Error).message}`], found: 0 };
  }
}
