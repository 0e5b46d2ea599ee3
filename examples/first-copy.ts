/** `npm start -- DATABASE REPLICA`: the first live copy of a real database, and what comes next. */
import { statSync } from "node:fs";
import { DatabaseSync, LockstepError, type Progress } from "../src/index.ts";
import { type VerifyReport, verify } from "../src/verify.ts";
import { bar, LiveLine, megabytes } from "./terminal.ts";

/** @param saysWhatNext tell how it goes on in a program */
export async function firstCopy(
  database: string,
  replica: string,
  saysWhatNext: boolean,
): Promise<0 | 1> {
  try {
    attach(database, replica);
    const { identical, integrity, pages } = await compare(database, replica);
    if (!identical || integrity.a !== "ok" || integrity.b !== "ok") {
      console.error(`Something is wrong: run "npx lockstep verify ${database} ${replica}"`);
      return 1;
    }
    console.log(`Identical  ${pages} pages\n`);
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    console.error(`${error.code}\n  ${error.what}.\n  ${error.state}.\n  Next: ${error.next}.`);
    return 1;
  }
  if (!saysWhatNext) return 0;
  console.log("From now on, in your program:\n");
  console.log(
    '  import { DatabaseSync } from "lockstep"; // or Database from "lockstep/better-sqlite3"',
  );
  console.log(
    `  const db = new DatabaseSync(${quote(database)}, { replicas: [${quote(replica)}] });\n`,
  );
  console.log("Every write that returns is then on both. On the worst day:\n");
  console.log(`  npx lockstep restore ${replica} ${database}`);
  return 0;
}

/** Opening is all it takes: the constructor returns when both copies are in step. */
function attach(database: string, replica: string): void {
  const live = new LiveLine();
  const started = performance.now();
  let last: Progress | null = null;
  const onProgress = (progress: Progress) => {
    if (last && last.phase !== progress.phase) live.finish(line(last));
    last = progress;
    live.update(line(progress));
  };
  const db = new DatabaseSync(database, { replicas: [replica], onProgress });
  if (last) live.finish(line(last));
  db.close();
  const seconds = ((performance.now() - started) / 1000).toFixed(2);
  console.log(`In step    ${megabytes(statSync(replica).size)} after ${seconds} s`);
}

/** Every page of both copies, and SQLite's own opinion of each. */
async function compare(database: string, replica: string): Promise<VerifyReport> {
  const live = new LiveLine();
  const report = await verify(database, replica, {
    onProgress(progress) {
      if (progress.phase === "integrity") live.update(`Checking   ${progress.path}`);
      else live.update(`Comparing  ${bar(progress.bytesDone, progress.bytesTotal)}`);
    },
  });
  live.finish("Verified   every page of both copies, and the integrity of each");
  return report;
}

const phases: Record<Progress["phase"], string> = {
  copy: "Copying",
  compare: "Comparing",
  delta: "Updating",
  "catch-up": "Catching up",
  sync: "Syncing",
};

function line({ phase, bytesDone, bytesTotal, bytesPerSecond }: Progress): string {
  const name = phases[phase].padEnd(11);
  const amount = `${megabytes(bytesDone)} of ${megabytes(bytesTotal)}`;
  return `${name}${bar(bytesDone, bytesTotal)}  ${amount}  ${megabytes(bytesPerSecond)}/s`;
}

function quote(path: string): string {
  return JSON.stringify(path);
}
