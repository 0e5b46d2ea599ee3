/**
 * Which transactions are open on a database that others open, too, and since when they are seen: by SQLite's
 * locks and its index of the log, looked at now and then. What is taken for one transaction is
 *   - the write lock, as long as one process has it and nobody commits;
 *   - a read mark behind the log's end, as long as one process has it: who begins to read takes another.
 */
import type { SharedIndex } from "../wal/shared-index.ts";
import type { Holders } from "./locks.ts";

export interface Held {
  /** Tells it from others. */
  readonly key: string;
  readonly pid: number;
  /** When it was first seen, by the monotonic clock. */
  readonly seenAt: number;
  /** Of a reader: beyond which frame the log cannot be folded; null: it writes. */
  readonly mark: number | null;
}

export class Transactions {
  #held: readonly Held[] = [];

  /**
   * @param index as it was just read
   * @param isOwnKnown is it known already what this process has open?
   */
  look(holders: Holders, index: SharedIndex, isOwnKnown: boolean): readonly Held[] {
    const { salt1, change, frames, backfilled } = index;
    const marks = index.readMarks();
    const now = performance.now();
    const found: Held[] = [];
    const add = (what: string, pid: number, mark: number | null): void => {
      if (pid === process.pid && isOwnKnown) return;
      const key = `${pid} ${what} ${salt1}`;
      const before = this.#held.find((each) => each.key === key);
      found.push(before ?? { key, pid, seenAt: now, mark });
    };
    for (const pid of holders.writers) add(`writes ${change}`, pid, null);
    const guard = holders.readers.findLastIndex(
      (pids, i) => pids.includes(process.pid) && marks[i] === newestOf(process.pid, holders, marks),
    );
    holders.readers.forEach((pids, i) => {
      const mark = marks[i] as number;
      const isOld = i === 0 ? backfilled < frames : mark < frames;
      for (const pid of isOld ? pids : []) {
        if (pid !== process.pid || i !== guard) add(`reads ${i} ${mark}`, pid, mark);
      }
    });
    this.#held = found;
    return found;
  }
}

/** Of this process it is the one that keeps the log from restarting: see gate/guard.ts. */
function newestOf(pid: number, { readers }: Holders, marks: readonly number[]): number {
  return Math.max(...readers.map((pids, i) => (pids.includes(pid) ? (marks[i] as number) : -1)));
}
