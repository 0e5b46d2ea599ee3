/**
 * The main job, start to end: a process that commits to two copies is killed, the disk of the
 * primary burns, the replica becomes the database, and the books are checked against what the
 * outside world was told.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { restore } from "../src/restore.ts";
import { verify } from "../src/verify.ts";
import { audit, type Transfer } from "./bank.ts";
import { random } from "./random.ts";
import { LiveLine, table } from "./terminal.ts";

export async function survive(seed: number, seconds: number): Promise<0 | 1> {
  const directory = mkdtempSync(join(tmpdir(), "lockstep-ledger-"));
  const cleanUp = () => rmSync(directory, { recursive: true, force: true });
  process.once("SIGINT", () => {
    cleanUp();
    process.exit(130);
  });
  try {
    return await story(directory, seed, seconds);
  } finally {
    cleanUp();
  }
}

async function story(directory: string, seed: number, seconds: number): Promise<0 | 1> {
  const mainDisk = join(directory, "main-disk");
  const otherDisk = join(directory, "other-disk");
  mkdirSync(mainDisk);
  mkdirSync(otherDisk);
  const primary = join(mainDisk, "ledger.db");
  const replica = join(otherDisk, "ledger.db");
  console.log(
    `A ledger on two copies (seed ${seed})\n  primary  ${primary}\n  replica  ${replica}\n`,
  );

  const killAfter = seconds * (0.5 + random(seed)(500) / 1000) * 1000;
  const { transfers, micros, elapsed } = await writeUntilKilled(primary, replica, seed, killAfter);
  if (transfers.length === 0) throw new Error("The child process acknowledged nothing");

  rmSync(mainDisk, { recursive: true });
  console.log(`Removed    ${mainDisk}: the database, its log and all that lay beside it`);

  mkdirSync(mainDisk);
  const restoring = performance.now();
  await restore(replica, primary);
  console.log(`Restored   from the replica in ${(performance.now() - restoring).toFixed(0)} ms`);

  const db = new DatabaseSync(primary, { readOnly: true });
  const books = audit(db, transfers);
  db.close();
  console.log(`Looked up  ${transfers.length} transfers, added up every account`);
  const { identical, integrity } = await verify(primary, replica);
  const sound = integrity.a === "ok" && integrity.b === "ok";
  console.log("Compared   both copies, page by page\n");

  console.log(
    table([
      ["acknowledged", count(transfers.length)],
      ["found", count(books.found)],
      ["lost", count(books.lost.length)],
      ["in flight when killed, kept", count(books.unacknowledged)],
      ["every balance adds up", books.balanced ? "yes" : "NO"],
      ["copies identical", identical ? "yes" : "NO"],
      ["integrity_check of both", sound ? "ok" : "FAILED"],
      ["commits per second", count(Math.round(transfers.length / (elapsed / 1000)))],
      ["commit latency p50 / p99", `${percentile(micros, 50)} / ${percentile(micros, 99)} µs`],
    ]),
  );
  const kept = books.lost.length === 0 && books.unacknowledged <= 1;
  return kept && books.balanced && identical && sound ? 0 : 1;
}

/** Collects what the child acknowledges, kills it, and reads the pipe to its end. */
async function writeUntilKilled(
  primary: string,
  replica: string,
  seed: number,
  killAfter: number,
): Promise<{ transfers: Transfer[]; micros: number[]; elapsed: number }> {
  const script = join(import.meta.dirname, "ledger-child.ts");
  const child = spawn(process.execPath, [script, primary, replica, String(seed)], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const exited = once(child, "exit");
  const transfers: Transfer[] = [];
  const micros: number[] = [];
  let firstAt = 0;
  let lastAt = 0;

  // A killed process may leave half a line at the end: it has no line break, and does not count.
  const pipe = child.stdio[3] as Readable;
  let text = "";
  pipe.setEncoding("latin1").on("data", (piece: string) => {
    const lines = (text + piece).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      const [id, debtor, creditor, cents, took] = line.split(" ").map(Number) as Line;
      transfers.push({ id, debtor, creditor, cents });
      micros.push(took);
    }
    lastAt = performance.now();
    firstAt ||= lastAt;
  });
  const drained = once(pipe, "end");
  const started = once(pipe, "data");

  const live = new LiveLine();
  const show = () =>
    `Writing    ${count(transfers.length)} transfers acknowledged, ` +
    `${count(Math.round(transfers.length / ((lastAt - firstAt) / 1000 || 1)))} a second`;
  const ticking = setInterval(() => live.update(show()), 100);
  await Promise.race([started.then(() => sleep(killAfter)), exited]);
  const alive = child.kill("SIGKILL");
  const killedAt = performance.now();
  await Promise.all([exited, drained]);
  clearInterval(ticking);
  live.finish(show());
  if (!alive) throw new Error(`The child process ended by itself (${ending(child)})`);
  console.log(
    `Killed     process ${child.pid} with SIGKILL after ${(killAfter / 1000).toFixed(2)} s`,
  );
  return { transfers, micros, elapsed: Math.min(lastAt, killedAt) - firstAt };
}

type Line = [number, number, number, number, number];

function ending(child: ChildProcess): string {
  return child.signalCode ?? `exit code ${child.exitCode}`;
}

function count(n: number): string {
  return n.toLocaleString("en");
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? 0;
}
