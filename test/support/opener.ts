/**
 * Somebody else who opens a replicated database: a process or a thread of its own. It says how that
 * went, holds the database until it is told to end, and ends by closing it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { TestContext } from "node:test";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type DriverName, loadDriver } from "../../src/driver.ts";
import type { LockstepError } from "../../src/errors.ts";
import { openHub } from "../../src/gate/open-hub.ts";

export interface Job {
  readonly driver: DriverName;
  readonly primary: string;
  readonly replicas: readonly string[];
}

/** The error with which the start was refused, or null. */
export type Outcome = Pick<LockstepError, "code" | "message" | "copy"> | null;

/** Opens in another process, which then stands by until the test ends. */
export async function openInProcess(
  t: TestContext,
  job: Job,
): Promise<{ outcome: Outcome; pid: number; child: ChildProcess }> {
  const args = ["--no-warnings", import.meta.filename, JSON.stringify(job)];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const [line] = await once(createInterface(child.stdout as Readable), "line");
  return { outcome: JSON.parse(String(line)), pid: child.pid as number, child };
}

/** Opens in another thread, which closes again when the test ends. */
export async function openInThread(t: TestContext, job: Job): Promise<Outcome> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { job } });
  t.after(async () => {
    worker.postMessage("end");
    await once(worker, "exit");
  });
  const [outcome] = await once(worker, "message");
  return outcome as Outcome;
}

function open({ driver, primary, replicas }: Job): { outcome: Outcome; close(): void } {
  try {
    const hub = openHub(driver, primary, {
      replicas,
      durability: "commit",
      minCopies: 1 + replicas.length,
      replicaTimeout: 20_000,
      restoreMissing: false,
      checkpointBytes: 8 << 20,
      scrubBytesPerSecond: 0,
      openTransactionMs: 60_000,
      lowSpaceBytes: null,
      onProgress: null,
    });
    const db = loadDriver(driver).open(primary);
    return { outcome: null, close: () => hub.disconnect(null, () => db.close()) };
  } catch (error) {
    const { code, message, copy } = error as LockstepError;
    return { outcome: { code, message, copy }, close() {} };
  }
}

if (isMainThread && import.meta.main) {
  const { outcome, close } = open(JSON.parse(process.argv[2] ?? ""));
  console.log(JSON.stringify(outcome));
  process.stdin.resume().on("end", close);
} else if (!isMainThread && workerData?.job) {
  const { outcome, close } = open(workerData.job);
  parentPort?.postMessage(outcome);
  parentPort?.once("message", close);
}
