/**
 * A process that checks what power cuts left, one after the other: reads a line of JSON for each, a
 * `Check`, and answers with a line of JSON, its problems.
 *
 *   both     the copies, as they lie on both disks, go through a start of Lockstep's
 *   alone    each copy by itself, the other disk gone for ever, is opened with SQLite alone
 */
import fs from "node:fs";
import os from "node:os";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { type Contents, contentsOf, foundIn } from "../crash/contents.ts";
import { type DriverName, plain, replicated } from "../crash/open.ts";
import { commitPlainly } from "../crash/perform.ts";
import { transactionAt } from "../crash/plan.ts";

export interface Check {
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

/** What each copy must hold when it holds n transactions; a plain database goes ahead and is asked. */
class Oracle {
  readonly #digests: string[] = [];
  readonly #path = join(fs.mkdtempSync(join(os.tmpdir(), "lockstep-oracle-")), "oracle.db");
  readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
  }

  async digest(n: number): Promise<string> {
    if (this.#digests[n] === undefined) {
      const db = (await plain("node:sqlite"))(this.#path);
      db.exec("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF");
      for (let at = this.#digests.length; at <= n; at++) {
        if (at > foundIn(db)) commitPlainly(db, transactionAt(this.seed, at));
        this.#digests[at] = contentsOf(db).digest;
      }
      db.close();
    }
    return this.#digests[n] as string;
  }

  close(): void {
    fs.rmSync(dirname(this.#path), { recursive: true });
  }
}

const oracles: Oracle[] = [];
for await (const line of createInterface({ input: process.stdin })) {
  const problems = await check(JSON.parse(line) as Check);
  process.stdout.write(`${JSON.stringify(problems)}\n`);
}
for (const oracle of oracles) oracle.close();

function oracleOf(seed: number): Oracle {
  const known = oracles.find((oracle) => oracle.seed === seed);
  if (known) return known;
  oracles.push(new Oracle(seed));
  return oracles.at(-1) as Oracle;
}

async function check(job: Check): Promise<string[]> {
  const problems: string[] = [];
  for (const copy of job.copies) problems.push(...(await alone(job, copy)));
  if (job.both !== null) problems.push(...(await together(job, job.both)));
  return problems;
}

async function alone(job: Check, copy: string): Promise<string[]> {
  const path = join(job.alone, copy);
  if (!fs.existsSync(path)) {
    return job.lo === 0 ? [] : [`${copy} alone: is not there, ${job.lo} were acknowledged`];
  }
  try {
    const db = (await plain(job.driver))(path);
    const contents = contentsOf(db);
    db.close();
    return judge(job, `${copy} alone`, contents);
  } catch (error) {
    return [`${copy} alone: ${(error as Error).stack}`];
  }
}

async function together(job: Check, root: string): Promise<string[]> {
  const [primary, replica] = ["main/app.db", "replica/app.db"].map((path) => join(root, path)) as [
    string,
    string,
  ];
  try {
    const db = (await replicated(job.driver))(primary, {
      replicas: [replica],
      replicaTimeout: 30_000,
    });
    const contents = contentsOf(db);
    db.exec("CREATE TABLE IF NOT EXISTS after_the_cut (n)"); // and goes on
    db.close();
    return [...(await judge(job, "both", contents)), ...atRest(primary, replica)];
  } catch (error) {
    return [`both: ${(error as Error).stack}`];
  }
}

async function judge({ seed, lo, hi }: Check, name: string, copy: Contents): Promise<string[]> {
  const { found, integrity, digest } = copy;
  if (integrity !== "ok") return [`${name}: not sound: ${integrity}`];
  if (found < lo) return [`${name}: ${lo} were acknowledged, ${found} are found`];
  if (found > hi) return [`${name}: holds ${found}, but only ${hi} were ever begun`];
  const right = found === 0 || digest === (await oracleOf(seed).digest(found));
  return right ? [] : [`${name}: ${found} found, contents differ`];
}

function atRest(primary: string, replica: string): string[] {
  const problems: string[] = [];
  if (!fs.readFileSync(primary).equals(fs.readFileSync(replica))) {
    problems.push("both: the closed files differ byte for byte");
  }
  for (const copy of [primary, replica]) {
    const left = fs.readdirSync(dirname(copy)).filter((name) => name.startsWith(basename(copy)));
    if (left.length !== 2) problems.push(`both: beside ${copy} is left: ${left.join(", ")}`);
  }
  return problems;
}
