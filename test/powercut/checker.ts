/**
 * A process that checks what power cuts left, one after the other: reads a line of JSON for each, a
 * `Check`, and answers with a line of JSON, its problems.
 *
 *   both     the copies, as they lie on both disks, go through a start of Lockstep's
 *   alone    each copy by itself, the other disk gone for ever, is opened with SQLite alone
 */
import { join } from "node:path";
import { createInterface } from "node:readline";
import { look } from "../crash/check.ts";
import { contentsOf, foundIn } from "../crash/contents.ts";
import { contents } from "../crash/judge.ts";
import { type DriverName, plain, replicated } from "../crash/open.ts";
import { commitPlainly } from "../crash/perform.ts";
import { transactionAt } from "../crash/plan.ts";
import { assertAtRest } from "../support/files.ts";

export interface Check {
  /** Of the plan; all that one process is asked about have the same. */
  readonly seed: number;
  readonly lo: number;
  readonly hi: number;
  readonly driver: DriverName;
  /** Directories that hold `main/app.db` and `replica/app.db`, if these survived; or null. */
  readonly both: string | null;
  readonly alone: string;
  /** The copies that must each hold it all. */
  readonly copies: readonly string[];
}

/** A plain database that goes ahead, and is asked what it holds after each transaction. */
const oracle = (await plain("node:sqlite"))(":memory:");
const digests: string[] = [];

for await (const line of createInterface({ input: process.stdin })) {
  const problems = await check(JSON.parse(line) as Check);
  process.stdout.write(`${JSON.stringify(problems)}\n`);
}

async function check(job: Check): Promise<string[]> {
  const digestOf = (found: number): string | undefined => digest(job.seed, found);
  const problems: string[] = [];
  for (const copy of job.copies) {
    const found = await look(join(job.alone, copy), job.driver);
    problems.push(...contents(job, digestOf, `${copy} alone`, found));
  }
  if (job.both === null) return problems;
  const [primary, replica] = ["main", "replica"].map((disk) => `${job.both}/${disk}/app.db`) as [
    string,
    string,
  ];
  try {
    const open = await replicated(job.driver);
    const db = open(primary, { replicas: [replica], replicaTimeout: 30_000 });
    problems.push(...contents(job, digestOf, "both", contentsOf(db)));
    db.exec("CREATE TABLE IF NOT EXISTS after_the_cut (n)"); // and goes on
    db.close();
    assertAtRest(primary, [replica]);
  } catch (error) {
    problems.push(`both: ${(error as Error).stack}`);
  }
  return problems;
}

function digest(seed: number, n: number): string | undefined {
  for (let at = digests.length; at <= n; at++) {
    if (at > foundIn(oracle)) commitPlainly(oracle, transactionAt(seed, at));
    digests.push(contentsOf(oracle).digest);
  }
  return digests[n];
}
