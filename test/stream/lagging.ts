/** What tests of archives that lag have in common. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync as Plain } from "node:sqlite";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { DatabaseSync, type ReplicationOptions } from "../../src/index.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { ok } from "../faults/pair.ts";
import { Faulty } from "./faulty.ts";
import { materialize } from "./streamed.ts";

/** What does not pass. */
const FOR_GOOD: readonly string[] = ["ERR_LOCKSTEP_DIVERGED", "ERR_LOCKSTEP_WORKER_DIED"];
/** Small pages: so a log holds many commits before it is due. */
export const PAGE = 512;

/** Killed while its archive hangs, at this message, and lacks most of so many commits. */
export async function killedBehind(
  t: TestContext,
  nth: number,
  commits = 2000,
  pageSize = PAGE,
): Promise<Faulty> {
  const options = { checkpointBytes: 64 << 20, replicaTimeout: 600_000 };
  const faulty = await Faulty.make(t, options, pageSize);
  const { pair } = faulty;
  pair.faults.set({ on: "open", path: "other/new/", nth, does: "hang" });
  for (let done = 0; done < commits; done += 500) {
    ok(await pair.exec("INSERT INTO other VALUES(randomblob(20));".repeat(500)));
    ok(await pair.insert());
    await pair.subject.ask({ do: "turn", milliseconds: 20 });
  }
  await pair.restart();
  pair.faults.set();
  const made = path.join(pair.faults.root, "made.db");
  await materialize(faulty.address, made);
  const lacks = commits - rows(made);
  assert.ok(lacks > commits / 2, `it lacks ${lacks} commits`);
  fs.rmSync(made);
  return faulty;
}

/** The same, where nothing but a log proves that what the archive holds is the primary's past. */
export async function provenByLog(t: TestContext, pageSize = PAGE): Promise<Faulty> {
  const faulty = await killedBehind(t, 2, 2000, pageSize); // one message after what the record names
  const at = await faulty.position();
  const named = faulty.named.map(formatPosition);
  assert.ok(at && named.length > 0 && !named.includes(at), `${at} is on record`);
  return faulty;
}

/** How often the stream began anew with an image. */
export async function images(faulty: Faulty): Promise<number> {
  return (await faulty.messages()).filter((is) => is === "installed").length;
}

/** Its disk is empty. */
export function loses(copy: string): void {
  fs.rmSync(path.dirname(copy), { recursive: true });
  fs.mkdirSync(path.dirname(copy));
}

/** Of the log: another one once it has begun anew. */
export function saltOf(copy: string): number {
  return fs.readFileSync(`${copy}-wal`).readUInt32BE(16);
}

/**
 * After a kill: the disk is as it should be, the primary's gone or not; the archive is in step in the end.
 * @param others replicas besides
 */
export async function comesBack(
  faulty: Faulty,
  isGone = false,
  others: readonly string[] = [],
): Promise<void> {
  const { pair } = faulty;
  pair.faults.set();
  if (isGone) loses(pair.primary);
  const replicas = [pair.replica, ...others, faulty.address];
  const db = await opened(pair.primary, { replicas, restoreMissing: true });
  await caughtUp(db);
  db.close();
  await faulty.assertEqual();
}

/** Of both tables. */
export function rows(file: string): number {
  const db = new Plain(file);
  const [row] = db
    .prepare("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM other) AS n")
    .all();
  db.close();
  return Number(row?.["n"]);
}

export async function opened(primary: string, options: ReplicationOptions): Promise<DatabaseSync> {
  for (const began = performance.now(); ; ) {
    try {
      return new DatabaseSync(primary, options);
    } catch (error) {
      const { code } = error as { code?: string };
      // The killed process may be going yet.
      if (code !== "ERR_LOCKSTEP_LOCKED" || performance.now() - began > 10_000) throw error;
      await delay(20);
    }
  }
}

export async function caughtUp(db: DatabaseSync): Promise<void> {
  for (const began = performance.now(); ; await delay(10)) {
    const { replicas = [] } = db.replication?.status ?? {};
    const behind = replicas.find(({ state, lag }) => state !== "mirroring" || lag > 0);
    if (!behind) return;
    const code = behind.lastError?.code ?? "";
    assert.ok(!FOR_GOOD.includes(code), `${behind.lastError}`);
    assert.ok(
      performance.now() - began < 60_000,
      `${behind.path} is ${behind.state}: ${behind.lastError}`,
    );
  }
}
