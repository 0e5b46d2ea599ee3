/**
 * What the committing thread counts. Plain numbers that it alone writes: nothing is allocated, and what a
 * mirror's thread measures is in cells of its own (slots.ts).
 */
import { Histogram } from "../histogram.ts";

export class Meter {
  commits = 0;
  bytes = 0;
  checkpoints = 0;
  checkpointsPostponed = 0;
  readonly commitLatency = new Histogram();
  /** When the oldest commit was seen that is not known to be durable; 0 if there is none. */
  oldest = 0;
  /** SQLite's own counter of commits, as it was last. */
  #change = 0;

  /** The copies are together: from here on it is counted. */
  begin(change: number): void {
    this.#change = change;
    this.commits = this.bytes = 0;
  }

  /** These bytes of the log were handed over; SQLite's counter of commits stands there. */
  took(change: number, bytes: number): void {
    const commits = (change - this.#change) >>> 0;
    this.#change = change;
    this.bytes += bytes;
    // An index that somebody rebuilt counts from 0 again: it was one commit at least.
    this.commits += commits === 0 || commits > 0x7fffffff ? 1 : commits;
  }

  /** @param done was it, or was it put off? */
  checkpointed(done: boolean): void {
    if (done) this.checkpoints++;
    else this.checkpointsPostponed++;
  }
}
