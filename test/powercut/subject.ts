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
import type { Wreck } from "./disks.ts";
import { layOut } from "./layout.ts";
import { prepend, recording } from "./tape.ts";

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

/** What lies on the disks when a life begins. */
export interface Beginning {
  readonly wreck: Wreck;
  /** The disks that are still the ones of before; a new one is empty. */
  readonly disks: readonly string[];
  readonly lo: number;
  readonly hi: number;
}

/**
 * Runs it in `scratch`, on empty disks or on what a power cut left, and writes the tape of all that it
 * does to them.
 */
export function record(subject: Subject, scratch: string, from: Beginning | null = null): string {
  const root = join(fs.realpathSync(scratch), "disks");
  for (const disk of ["main", "replica", "process"])
    fs.mkdirSync(join(root, disk), { recursive: true });
  const { env, tape } = recording(root, scratch);
  fs.rmSync(tape, { force: true });
  if (from) begin(from, root, tape);
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
  fs.rmSync(root, { recursive: true });
  return tape;
}

/** The tape begins with what is there, all of it durable, and with what must be found in it. */
function begin({ wreck, disks, lo, hi }: Beginning, root: string, tape: string): void {
  layOut(wreck, root, disks);
  const nothing = { inode: 0, at: 1, mtimeNs: 0n, data: new Uint8Array(0) };
  for (const disk of disks) {
    for (const name of fs.readdirSync(join(root, disk))) {
      const path = `${disk}/${name}`;
      const { ino, mtimeNs } = fs.statSync(join(root, path), { bigint: true });
      const file = { ...nothing, path, inode: Number(ino), mtimeNs };
      prepend(tape, { ...file, kind: "create" });
      prepend(tape, { ...file, kind: "write", at: 0, data: fs.readFileSync(join(root, path)) });
      for (const kind of ["sync-begin", "sync-end"] as const) prepend(tape, { ...file, kind });
    }
    for (const kind of ["sync-begin", "sync-end"] as const) {
      prepend(tape, { ...nothing, path: disk, kind });
    }
  }
  const holders = disks.map((disk) => `${disk}/app.db`).join(" ");
  const data = Buffer.from(`begins ${lo} ${hi} ${holders}\n`);
  prepend(tape, { ...nothing, path: MARKS, kind: "write", data });
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
