/**
 * Goal: a process may be killed at any instant; every acknowledged transaction is in every copy, each
 * copy is a sound database at a transaction boundary, and reopening makes the copies equal.
 * Method: one pair of copies, several lives. Each ends by SIGKILL; then the directories are copied as
 * they lie, and each check starts from a copy of its own:
 *   (a) both are reopened with Lockstep,
 *   (b) the replica is opened alone, first by the `sqlite3` command,
 *   (c) the primary is opened alone.
 * A plain database that repeats the same transactions says what each must hold.
 */
import { execFile, spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import type { CheckJob, CheckReport } from "./check.ts";
import { judge } from "./judge.ts";
import { chooseMoment, type Life, live } from "./life.ts";
import { driverNames } from "./open.ts";
import { callAt } from "./plan.ts";
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

export async function run(seed: number, sabotage: Sabotage | null = null): Promise<RunReport> {
  const directory = mkdtempSync(join(tmpdir(), "lockstep-crash-"));
  const random = new Random(seed);
  const paths = prepare(directory, random);
  const lives = random.between(1, 3);
  const report = { seed, lives, kills: 0, acknowledged: 0, problems: [] as string[], directory };
  // What a copy may hold: at least what was acknowledged, at most what was in flight besides.
  let lo = 0;
  let hi = callAt(seed, 1).last;

  for (let generation = 1; generation <= lives; generation++) {
    const moment = chooseMoment(random);
    const life = await live(
      {
        seed,
        generation,
        ...paths,
        driver: random.pick(driverNames),
        checkpointBytes: random.pick([20_000, 60_000, 200_000, 1_000_000, 8_000_000]),
        callsUntilClose: closes(random, moment.line === "closing"),
      },
      moment,
    );
    if (!life.closed) report.kills++;
    [lo, hi] = bounds(seed, life, lo, hi);
    report.acknowledged = lo;
    const what = `life ${generation}, killed ${moment.delayMs} ms after "${moment.line}"`;
    if (life.failure !== null) report.problems.push(`${what}: the child failed: ${life.failure}`);
    else {
      const job = copiesFor(directory, paths, {
        seed,
        lo,
        hi,
        reopenWith: random.pick(driverNames),
      });
      report.problems.push(...(await inspect(job, sabotage)).map((text) => `${what}: ${text}`));
    }
    if (report.problems.length > 0) return report;
  }
  rmSync(directory, { recursive: true });
  return report;
}

function bounds(seed: number, life: Life, lo: number, hi: number): [number, number] {
  if (life.acknowledged === null) return [lo, hi];
  const last = life.acknowledged;
  return [last, life.closed ? last : callAt(seed, last + 1).last];
}

/** Two closes in a life that is to be killed in one; else mostly none before the kill. */
function closes(random: Random, soon: boolean): number[] {
  if (soon) return [random.between(1, 60), random.between(1, 60)];
  return [random.oneIn(3) ? random.between(1, 100) : 100_000, 100_000];
}

interface Paths {
  readonly primary: string;
  readonly replica: string;
}

/** The database as it was before Lockstep: none, an empty one, or one with contents of its own. */
function prepare(directory: string, random: Random): Paths {
  for (const name of ["main", "replica"]) mkdirSync(join(directory, name));
  const primary = join(directory, "main", "app.db");
  if (random.oneIn(4)) return { primary, replica: join(directory, "replica", "app.db") };

  const db = new DatabaseSync(primary);
  db.exec(`PRAGMA page_size = ${random.pick([512, 1024, 4096, 4096, 4096, 16384, 65536])}`);
  db.exec(`PRAGMA auto_vacuum = ${random.pick([0, 0, 1, 2])}`);
  db.exec(`PRAGMA journal_mode = ${random.pick(["WAL", "DELETE", "TRUNCATE"])}`);
  if (random.oneIn(2)) {
    db.exec("CREATE TABLE before (id INTEGER PRIMARY KEY, data BLOB)");
    const insert = db.prepare("INSERT INTO before (data) VALUES (?)");
    db.exec("BEGIN");
    for (let i = random.below(300); i > 0; i--) insert.run(random.bytes(random.below(8000)));
    db.exec("COMMIT");
  } else db.exec("VACUUM");
  db.close();
  copyFileSync(primary, join(directory, "oracle.db"));
  return { primary, replica: join(directory, "replica", "app.db") };
}

const shell = spawnSync("sqlite3", ["--version"]).status === 0 ? "sqlite3" : null;

function copiesFor(
  directory: string,
  { primary, replica }: Paths,
  facts: Pick<CheckJob, "seed" | "lo" | "hi" | "reopenWith">,
): CheckJob {
  const place = (check: string) => {
    const to = join(directory, check);
    rmSync(to, { recursive: true, force: true });
    for (const name of ["main", "replica"]) {
      cpSync(join(directory, name), join(to, name), { recursive: true });
    }
    return {
      primary: primary.replace(directory, to),
      replica: replica.replace(directory, to),
    };
  };
  const oracle = join(directory, "oracle.db");
  return { ...facts, oracle, shell, a: place("a"), b: place("b").replica, c: place("c").primary };
}

async function inspect(job: CheckJob, sabotage: Sabotage | null): Promise<string[]> {
  const script = join(import.meta.dirname, "check.ts");
  const told = sabotage === null ? job : sabotages[sabotage](job);
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(told)], {
      timeout: 120_000,
      killSignal: "SIGKILL",
      maxBuffer: 2 ** 26,
    });
    return judge(told, JSON.parse(stdout) as CheckReport);
  } catch (error) {
    return [`the check failed: ${(error as { stderr?: string }).stderr || error}`];
  }
}
