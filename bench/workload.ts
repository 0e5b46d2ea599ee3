/**
 * What a workload is: one file in workloads/, which says what is measured and has the code that
 * measures. run.ts goes through its cases, each in a process of its own (process.ts).
 */

/** How much is done. */
export interface Scale {
  /** As little as shows that everything works; the figures mean nothing. */
  readonly quick: boolean;
  /** With databases of 10 GB. */
  readonly large: boolean;
  readonly rounds: number;
  /** For the tail: how many commits. */
  readonly commits: number;
}

/** One thing to be measured once. */
export interface Case {
  readonly way: string;
  /** The place on the workload's axis; 0 without an axis. */
  readonly x: number;
  readonly round: number;
  readonly scale: Scale;
  /** Empty, removed after this trial. */
  readonly directory: string;
  /** Removed when the workload is done. */
  readonly shared: string;
  /** Removed when all workloads are done. */
  readonly scratch: string;
}

export type Figures = Record<string, number>;

/** A plot: with an axis one line a way; of several figures one line a way over them; else bars. */
export interface Chart {
  readonly name: string;
  readonly title: string;
  readonly figures: readonly string[];
  readonly log?: boolean;
}

export interface Workload {
  readonly title: string;
  readonly axis?: { readonly label: string; values(scale: Scale): readonly number[] };
  /** The ways to do the work, by their short names. */
  readonly ways: Readonly<Record<string, string>>;
  /** What a trial gives, with the units. */
  readonly figures: Readonly<Record<string, string>>;
  readonly charts: readonly Chart[];
  /** Is this way tried at this place, in this round? Default: always. */
  applies?(way: string, x: number, round: number, scale: Scale): boolean;
  /** How many rounds, if not as many as the user asked for: a whole run is to end in half an hour. */
  rounds?(scale: Scale): number;
  /** Flags for the trial's Node.js. */
  readonly flags?: readonly string[];
  /** What the trial's environment has beside the usual. */
  environment?(one: Case): Record<string, string>;
  /** What has to be there first; in a process of its own as well. */
  prepare?(one: Case): void;
  trial(one: Case): Figures | Promise<Figures>;
}

/** This cannot be measured here, and why; any other error ends the run. */
export class Unavailable extends Error {}

/** The size of the log at which every way checkpoints, where nothing else is said. */
export const LOG_BYTES = 8 * 2 ** 20;

/** The sizes of databases, in MB. */
export function databaseSizes({ quick, large }: Scale): readonly number[] {
  return quick ? [1, 8] : large ? [1, 10, 100, 1000, 10_000] : [1, 10, 100, 1000];
}

/** One round is enough of what takes minutes. */
export function fewerOfTheLargest(_way: string, x: number, round: number): boolean {
  return x < 10_000 || round < 1;
}
