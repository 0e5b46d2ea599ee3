/**
 * What runs while the disks are recorded: the crash tests' process, which writes to a replicated
 * database and reports what it knows to be safe; or, to prove the laboratory itself, plain SQLite.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import type { ChildJob } from "../crash/child.ts";
import { foundIn } from "../crash/contents.ts";
import { type DriverName, plain } from "../crash/open.ts";
import { perform } from "../crash/perform.ts";
import { callAt } from "../crash/plan.ts";
import { type Operation, readTape, recording } from "./tape.ts";

export type Subject =
  | { readonly kind: "lockstep"; readonly job: Omit<ChildJob, "primary" | "replica"> }
  | {
      readonly kind: "plain";
      readonly seed: number;
      readonly driver: DriverName;
      readonly synchronous: "FULL" | "NORMAL";
      readonly calls: number;
    };

/** Where the reports go, beside the disks. */
export const MARKS = "process/marks";

/** Runs it on empty disks in `scratch`, and returns all that it did to them. */
export function record(subject: Subject, scratch: string): Operation[] {
  const root = join(fs.realpathSync(scratch), "disks");
  for (const disk of ["main", "replica", "process"])
    fs.mkdirSync(join(root, disk), { recursive: true });
  const { env, tape } = recording(root, scratch);
  const primary = join(root, "main/app.db");
  const told =
    subject.kind === "lockstep"
      ? { ...subject.job, primary, replica: join(root, "replica/app.db") }
      : { ...subject, primary };
  const script =
    subject.kind === "lockstep"
      ? join(import.meta.dirname, "../crash/child.ts")
      : import.meta.filename;
  const marks = fs.openSync(join(root, MARKS), "a");
  const { status, stderr } = spawnSync(process.execPath, [script, JSON.stringify(told)], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe", marks],
    encoding: "utf8",
  });
  fs.closeSync(marks);
  if (status !== 0) throw new Error(`the recorded process failed: ${stderr}`);
  const operations = readTape(tape);
  fs.rmSync(root, { recursive: true });
  return operations;
}

if (import.meta.main) {
  const job = JSON.parse(process.argv[2] ?? "") as Extract<Subject, { kind: "plain" }> & {
    readonly primary: string;
  };
  const db = (await plain(job.driver))(job.primary);
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${job.synchronous}`);
  db.exec("PRAGMA wal_autocheckpoint = 20");
  for (let i = 0, n = foundIn(db); i < job.calls; i++) {
    const call = callAt(job.seed, n + 1);
    perform(db, job.seed, call);
    n = call.last;
    fs.writeSync(3, `acknowledged ${n}\n`);
  }
  db.close();
  fs.writeSync(3, "closed\n");
}
