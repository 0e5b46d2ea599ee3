/**
 * What replication costs on these disks: a small transaction committed in every way of
 * bench/ways.ts. The ways take turns, in several rounds; each trial is a process of its own, in
 * directories of its own, which are gone afterwards.
 */
import fs from "node:fs";
import path from "node:path";
import { median } from "./bench/figures.ts";
import { runTrial } from "./bench/run-trial.ts";
import { type Trial, type TrialTask, type Way, type WayName, ways } from "./bench/ways.ts";

export type { Trial, WayName } from "./bench/ways.ts";

export interface BenchOptions {
  /** Where the primary is made, in a directory of its own. Default: the working directory. */
  directory?: string | undefined;
  /** The same for each replica. Default: one, where the primary is. */
  replicas?: readonly string[] | undefined;
  /** How long all of it takes, about. Default 30. */
  seconds?: number | undefined;
  onProgress?: ((progress: BenchProgress) => void) | undefined;
  /** Ends it early; `bench` then rejects with the signal's reason, when everything is removed. */
  signal?: AbortSignal | undefined;
}

export interface BenchProgress {
  /** What is measured now; null at the end. */
  readonly way: Way | null;
  readonly trialsDone: number;
  readonly trialsTotal: number;
}

export interface BenchReport {
  readonly directories: {
    readonly primary: string;
    readonly replicas: readonly string[];
    /** Whether two copies are in one file system. Two on one disk can be different, unnoticed. */
    readonly oneDisk: boolean;
    /** Whether any is in memory: it is fast, and says nothing about a disk. */
    readonly inMemory: boolean;
  };
  readonly seconds: number;
  readonly rounds: number;
  readonly bytesPerCommit: number;
  readonly ways: readonly WayReport[];
}

/** Medians of the rounds. A latency is what one caller waits for one commit. */
export interface WayReport {
  readonly way: WayName;
  readonly callers: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly commitsPerSecond: number;
  /** Of commits a second, to those of plain. */
  readonly ratioToPlain: number;
  readonly trials: readonly Omit<Trial, "bytesPerCommit">[];
}

/** @throws LockstepError, or what the system said of a directory */
export async function bench(options: BenchOptions = {}): Promise<BenchReport> {
  const { seconds = 30, onProgress, signal } = options;
  const primary = path.resolve(options.directory ?? ".");
  const replicas = (options.replicas ?? [primary]).map((directory) => path.resolve(directory));
  const rounds = seconds < THREE_ROUNDS_SECONDS ? 2 : 3;
  const trials = new Map<Way, Trial[]>(ways.map((way) => [way, []]));
  const places = new Places([primary, ...replicas]);
  try {
    const trialsTotal = rounds * ways.length;
    let trialsDone = 0;
    for (const way of inTurn(ways, rounds)) {
      onProgress?.({ way, trialsDone, trialsTotal });
      const milliseconds = (seconds * 1000) / trialsTotal;
      const trial = await places.with((directories) =>
        runTrial({ ...way, directories, milliseconds } satisfies TrialTask, signal),
      );
      trials.get(way)?.push(trial);
      trialsDone++;
    }
    onProgress?.({ way: null, trialsDone, trialsTotal });
    const directories = { primary, replicas, ...places.kind() };
    return { directories, seconds, rounds, ...summary(trials) };
  } finally {
    places.remove();
  }
}

// --- internal ---

/** From how many seconds on there is time for a third round, whose median is no mean of two. */
const THREE_ROUNDS_SECONDS = 20;

/** `f_type` of statfs(2) on Linux: tmpfs, ramfs. */
const IN_MEMORY: readonly number[] = [0x01021994, 0x858458f6];

/** There and back: nobody always comes after the same neighbour, nor always early. */
function* inTurn(order: readonly Way[], rounds: number): Generator<Way> {
  for (let round = 0; round < rounds; round++) yield* round % 2 ? order.toReversed() : order;
}

function summary(trials: Map<Way, Trial[]>): Pick<BenchReport, "bytesPerCommit" | "ways"> {
  const all = [...trials].map(([{ way, callers }, of]) => ({
    way,
    callers,
    p50Ms: median(of.map((trial) => trial.p50Ms)),
    p99Ms: median(of.map((trial) => trial.p99Ms)),
    commitsPerSecond: median(of.map((trial) => trial.commitsPerSecond)),
    trials: of.map(({ bytesPerCommit: _, ...trial }) => trial),
  }));
  const plain = all.find(({ way }) => way === "plain")?.commitsPerSecond ?? 0;
  return {
    bytesPerCommit: [...trials.values()].flat().at(-1)?.bytesPerCommit ?? 0, // the disks' come last
    ways: all.map(({ trials: each, ...medians }) => ({
      ...medians,
      ratioToPlain: medians.commitsPerSecond / plain,
      trials: each,
    })),
  };
}

/** A temporary directory inside each of the given ones. */
class Places {
  readonly #made: string[] = [];
  #trials = 0;

  constructor(directories: readonly string[]) {
    try {
      for (const each of directories) {
        this.#made.push(fs.mkdtempSync(path.join(each, "lockstep-bench-")));
      }
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Runs a trial in fresh directories. */
  async with<T>(trial: (directories: readonly string[]) => Promise<T>): Promise<T> {
    const name = String(++this.#trials);
    const directories = this.#made.map((each) => path.join(each, name));
    for (const each of directories) fs.mkdirSync(each);
    try {
      return await trial(directories);
    } finally {
      directories.forEach(removeAll);
    }
  }

  kind(): { oneDisk: boolean; inMemory: boolean } {
    const devices = this.#made.map((each) => fs.statSync(each).dev);
    return {
      oneDisk: new Set(devices).size < devices.length,
      inMemory: this.#made.some((each) => IN_MEMORY.includes(fs.statfsSync(each).type)),
    };
  }

  remove(): void {
    this.#made.forEach(removeAll);
  }
}

function removeAll(directory: string): void {
  fs.rmSync(directory, { recursive: true, force: true });
}
