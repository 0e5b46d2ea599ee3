/** What tests of archives that lag have in common. */
import assert from "node:assert/strict";
import { DatabaseSync as Plain } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { DatabaseSync, type ReplicationOptions } from "../../src/index.ts";

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
    const archive = db.replication?.status.replicas.at(-1);
    if (archive?.state === "mirroring" && archive.lag === 0) return;
    assert.ok(performance.now() - began < 60_000, `${archive?.state}: ${archive?.lastError}`);
  }
}
