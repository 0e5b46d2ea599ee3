/**
 * What the committing thread counts. Plain numbers that it alone writes: nothing is allocated, and what a
 * mirror's thread measures is in cells of its own (slots.ts).
 */
import { channels } from "../channels.ts";
import { Histogram } from "../histogram.ts";
import { formatPosition, type Position } from "../lineage/position.ts";

export class Meter {
  commits = 0;
  bytes = 0;
  checkpoints = 0;
  checkpointsPostponed = 0;
  readonly commitLatency = new Histogram();
  /** When the oldest commit was seen that is not known to be durable; 0 if there is none. */
  oldest = 0;
  readonly #primary: string;
  /** SQLite's own counter of commits, as it was last. */
  #change = 0;
  /** What had been counted at the last `committed`. */
  #commitsBefore = 0;
  #bytesBefore = 0;

  /** @param primary its path */
  constructor(primary: string) {
    this.#primary = primary;
  }

  /** The copies are together: from here on it is counted. */
  begin(change: number): void {
    this.#change = change;
    this.commits = this.bytes = 0;
    this.#commitsBefore = this.#bytesBefore = 0;
  }

  /** These bytes of the log were handed over; SQLite's counter of commits stands there. */
  took(change: number, bytes: number): void {
    const commits = (change - this.#change) >>> 0;
    this.#change = change;
    this.bytes += bytes;
    // An index that somebody rebuilt counts from 0 again: it was one commit at least.
    this.commits += commits === 0 || commits > 0x7fffffff ? 1 : commits;
  }

  /** What was handed over is durable; whoever waited has done so since `begun`. */
  committed(begun: number): void {
    const durationMs = performance.now() - begun;
    this.commitLatency.add(durationMs);
    const commits = this.commits - this.#commitsBefore;
    const bytes = this.bytes - this.#bytesBefore;
    this.#commitsBefore = this.commits;
    this.#bytesBefore = this.bytes;
    if (!channels.commit.hasSubscribers) return;
    channels.commit.publish({ primary: this.#primary, commits, bytes, durationMs });
  }

  /** Every copy has synced up to there, which it was asked for at `begun`. */
  synced(position: Position, begun: number): void {
    if (!channels.sync.hasSubscribers) return;
    const durationMs = performance.now() - begun;
    channels.sync.publish({
      primary: this.#primary,
      position: formatPosition(position),
      durationMs,
    });
  }

  /** @param done was it, or was it put off? */
  checkpointed(done: boolean): void {
    if (done) this.checkpoints++;
    else this.checkpointsPostponed++;
  }
}
