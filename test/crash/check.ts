/**
 * The checks on what a killed process left behind: (a) in place, the others on copies of their own. A process
 * that reads a line of JSON for each, a `CheckJob`, and answers with a line of JSON, what it found; whether
 * that is right is for judge.ts to say.
 *
 * What a start begins threads and processes for is done by those that are there already, but each tenth time
 * (support/warm.ts).
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { restore } from "../../src/restore.ts";
import { verify } from "../../src/verify.ts";
import { settled, useWarm } from "../support/warm.ts";
import { type Contents, contentsOf, foundIn } from "./contents.ts";
import { type DriverName, plain, replicated } from "./open.ts";
import { commitPlainly } from "./perform.ts";
import { transactionAt } from "./plan.ts";

export interface CheckJob {
  readonly seed: number;
  /** A plain database at `lo` or before; it is brought to `lo`. */
  readonly oracle: string;
  /** Acknowledged: every copy must hold it. */
  readonly lo: number;
  /** What was in flight: no copy may hold more. */
  readonly hi: number;
  readonly reopenWith: DriverName;
  /** (a) is opened with Lockstep, (b) and (c) alone and without. A file may be missing. */
  readonly a: { readonly primary: string; readonly replica: string };
  readonly b: string;
  readonly c: string;
  /** (d) is a replica to restore from, as if the primary's disk had burnt. */
  readonly d: string;
  /** The `sqlite3` command, if the machine has one. */
  readonly shell: string | null;
}

export interface CheckReport {
  /** The oracle's digests of `lo` to `hi`. */
  readonly expected: readonly string[];
  readonly reopened: Contents & { readonly identical: boolean; readonly sameBytes: boolean };
  /** Null if there is no such file. */
  readonly replica: Contents | null;
  readonly primary: Contents | null;
  readonly restored: Contents | null;
  /** What the shell printed of the replica, before anything else opened it. */
  readonly shell: string | null;
}

const COLD = 10;

if (import.meta.main) {
  let checks = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    useWarm(checks++ % COLD !== 0);
    const answer = await check(JSON.parse(line) as CheckJob)
      .then(async (report) => {
        await settled();
        return { report };
      })
      .catch((error: Error) => ({ error: error.stack }));
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(); // what is kept warm does not keep this process
}

async function check(job: CheckJob): Promise<CheckReport> {
  const shell = existsSync(job.b) && job.shell ? askShell(job.shell, job.b) : null;
  return {
    shell,
    replica: await look(job.b),
    primary: await look(job.c),
    restored: await restoreFrom(job.d),
    reopened: await reopen(job),
    expected: await digests(job),
  };
}

function askShell(shell: string, path: string): string {
  const { stdout, stderr } = spawnSync(shell, [path, "PRAGMA integrity_check"], {
    encoding: "utf8",
  });
  return (stdout + stderr).trim();
}

/** What a copy holds, opened alone and without Lockstep; null if there is none. */
export async function look(
  path: string,
  driver: DriverName = "node:sqlite",
): Promise<Contents | null> {
  if (!existsSync(path)) return null;
  try {
    const db = (await plain(driver))(path);
    const contents = contentsOf(db);
    db.close();
    return contents;
  } catch (error) {
    return unreadable(error);
  }
}

async function restoreFrom(replica: string): Promise<Contents | null> {
  if (!existsSync(replica)) return null;
  const dest = `${replica}-restored`;
  try {
    await restore(replica, dest);
    return await look(dest);
  } catch (error) {
    return unreadable(error);
  }
}

async function reopen(job: CheckJob): Promise<CheckReport["reopened"]> {
  const { primary, replica } = job.a;
  try {
    const db = (await replicated(job.reopenWith))(primary, { replicas: [replica] });
    const contents = contentsOf(db);
    db.close();
    const { identical } = await verify(primary, replica);
    const sameBytes = readFileSync(primary).equals(readFileSync(replica));
    return { ...contents, identical, sameBytes };
  } catch (error) {
    return { ...unreadable(error), identical: false, sameBytes: false };
  }
}

function unreadable(error: unknown): Contents {
  return { found: 0, integrity: (error as Error).stack ?? String(error), digest: "" };
}

/** The oracle stays at `lo`, for the next life of the pair; what may follow is tried on a copy. */
async function digests({ seed, oracle, lo, hi }: CheckJob): Promise<string[]> {
  const open = await plain("node:sqlite");
  const advance = (path: string, to: number): string => {
    const db = open(path);
    db.exec("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF");
    for (let n = foundIn(db) + 1; n <= to; n++) commitPlainly(db, transactionAt(seed, n));
    const { digest } = contentsOf(db);
    db.close();
    return digest;
  };
  const result = [advance(oracle, lo)];
  const ahead = `${oracle}-ahead`;
  copyFileSync(oracle, ahead);
  for (let n = lo + 1; n <= hi; n++) result.push(advance(ahead, n));
  return result;
}
