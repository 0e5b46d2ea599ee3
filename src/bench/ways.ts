/** What is compared: every way in which a commit comes to stable storage. */

export type WayName = "plain" | "databases" | "commit" | "barrier" | "disk";

export interface Way {
  readonly way: WayName;
  /** How many commit at the same time and wait each for its own; more than one only for barrier. */
  readonly callers: number;
}

export const ways: readonly Way[] = [
  { way: "plain", callers: 1 },
  { way: "databases", callers: 1 },
  { way: "commit", callers: 1 },
  { way: "barrier", callers: 1 },
  { way: "barrier", callers: 8 },
  { way: "barrier", callers: 64 },
  { way: "barrier", callers: 256 },
  { way: "disk", callers: 1 },
];

/**
 * The size of the log from which it is folded into the file, in every way: Lockstep's default. The
 * disk's own limit is measured in a file of this size.
 */
export const LOG_BYTES = 8 * 2 ** 20;

/** One way, once: what a child process is told. */
export interface TrialTask extends Way {
  /** Empty ones, of its own; the primary's first. */
  readonly directories: readonly string[];
  /** How long it may take, from the start of its process. */
  readonly milliseconds: number;
}

/** Latencies are what one caller waits for one commit. */
export interface Trial {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly commitsPerSecond: number;
  /** How many were measured. */
  readonly commits: number;
  /** What one commit appends to a log, on the average; counted where the disks are measured. */
  readonly bytesPerCommit: number | null;
}
