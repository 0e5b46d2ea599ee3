/**
 * A reader with `openReplica`, as reader.py is one without: what both look at is told in ledger.ts.
 * Besides, each line of its input is a position and the step that it holds: it waits for that, and its
 * next read must see it. Its own position never goes back.
 *
 *     node reader.ts FILE SEED DRIVER CHECK_EVERY HOLD_EVERY HOLD_MS
 */
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { openReplica as openBetter } from "../../src/better-sqlite3.ts";
import { type OpenReplica, openReplica } from "../../src/index.ts";
import { parsePosition } from "../../src/lineage/position.ts";
import { Random } from "../crash/random.ts";
import { LOOK, type Look, wrongWith } from "./ledger.ts";

/** What a reader says at its end. */
export interface ReaderReport {
  readonly sqlite: string;
  reads: number;
  /** Transactions that were held open, and looked again. */
  held: number;
  /** integrity_check and quick_check. */
  checks: number;
  /** The newest step that it saw. */
  last: number;
  readonly wrong: string[];
  /** How often it waited for a position, and how long, in milliseconds. */
  reached?: number;
  slowestReachMs?: number;
}

/** Positions as they were seen: within a generation frames grow, and none comes again. */
export class Course {
  readonly #left = new Set<string>();
  #at: { generation: string; frame: number } | null = null;

  /** Null, or why this one goes back. */
  goesBack(text: string): string | null {
    const { salt1, salt2, frame } = parsePosition(text) as NonNullable<
      ReturnType<typeof parsePosition>
    >;
    const generation = `${salt1} ${salt2}`;
    const at = this.#at;
    this.#at = { generation, frame };
    if (at?.generation === generation) {
      return frame < at.frame ? `position went back from frame ${at.frame} to ${frame}` : null;
    }
    if (at) this.#left.add(at.generation);
    return this.#left.has(generation) ? `a generation came again: ${text}` : null;
  }
}

if (import.meta.main) {
  const [file = "", seed, driver, checkEvery, holdEvery, holdMs] = process.argv.slice(2);
  const db = (driver === "node:sqlite" ? openReplica : openBetter)(file) as OpenReplica;
  const random = new Random(Number(seed));
  const query = db.prepare(LOOK);
  const version = db.prepare("SELECT sqlite_version() AS version").get()?.["version"];
  const report: ReaderReport = {
    sqlite: String(version),
    ...{ reads: 0, held: 0, checks: 0, last: 0, wrong: [], reached: 0, slowestReachMs: 0 },
  };
  const course = new Course();
  const complain = (what: string): void => {
    if (report.wrong.length >= 10) return;
    report.wrong.push(what);
    console.log("wrong");
  };
  const look = (): Look => {
    report.reads++;
    return query.get() as unknown as Look;
  };

  let told: { position: string; step: number } | null = null;
  let ended = false;
  createInterface(process.stdin)
    .on("line", (line) => (told = JSON.parse(line)))
    .on("close", () => (ended = true));

  const turn = async (n: number): Promise<void> => {
    const target = told as { position: string; step: number } | null;
    told = null;
    if (target) {
      const from = performance.now();
      await db.reach(target.position, { timeout: 30_000 });
      report.reached = (report.reached ?? 0) + 1;
      report.slowestReachMs = Math.max(report.slowestReachMs ?? 0, performance.now() - from);
    }
    const { position } = db;
    const back = position && course.goesBack(position);
    if (back) complain(back);
    db.exec("BEGIN");
    try {
      const row = look();
      const wrong = wrongWith(row);
      if (wrong) complain(`inconsistent: ${wrong}`);
      if (row.step < report.last) complain(`went back from ${report.last} to ${row.step}`);
      if (target && row.step < target.step) complain(`reached ${target.step}, saw ${row.step}`);
      report.last = row.step;
      if (n % Number(checkEvery) === 0) {
        report.checks++;
        const said = db.prepare("PRAGMA quick_check").get()?.["quick_check"];
        if (said !== "ok") complain(`quick_check: ${said}`);
      }
      if (n % Number(holdEvery) === 0) {
        report.held++;
        const end = performance.now() + random.below(Number(holdMs));
        while (performance.now() < end && !ended) {
          await delay(50);
          if (JSON.stringify(look()) !== JSON.stringify(row)) {
            complain("a transaction saw two moments");
          }
        }
      }
    } finally {
      db.exec("COMMIT");
    }
    await delay(random.below(6));
  };

  console.log("reading");
  for (let n = 1; !ended; n++) await turn(n).catch((error) => complain(String(error)));
  db.close();
  console.log(JSON.stringify(report));
}
