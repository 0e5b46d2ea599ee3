/**
 * Follows a database that other programs write, in any language and any number of processes, from the outside:
 * what they commit is mirrored to every replica as it comes.
 *
 * Woken by the file system: a commit writes to the `-wal`. The commit counts once SQLite's index of the log shows
 * it, which is shared memory and wakes nobody, a moment after the last write; so after each wake it is looked at
 * again, after 1, 2, 4 … milliseconds, and from then on every `POLL_MS`, in case nobody wakes us at all.
 *
 * No lock is taken while it follows but a read mark, which keeps the others from restarting the log unseen;
 * see gate/foreign-checkpoint.ts for when they may.
 */
import fs from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { isStream, streamName } from "./address.ts";
import { loadDriver } from "./driver.ts";
import { codes, LockstepError } from "./errors.ts";
import { Deputy } from "./gate/deputy.ts";
import type { Hub } from "./gate/hub.ts";
import { openForeign } from "./gate/open-hub.ts";
import { realPath, walPath } from "./lineage/describe.ts";
import type { ReplicationHandle, ReplicationStatus } from "./observe.ts";
import { type Replication, type ReplicationOptions, readOptions } from "./options.ts";
import { planFor } from "./replicate/plan.ts";

export type ReplicateOptions = Pick<
  ReplicationOptions,
  | "onReplicaFailure"
  | "minCopies"
  | "replicaTimeout"
  | "checkpointBytes"
  | "openTransactionMs"
  | "lowSpaceBytes"
  | "onProgress"
> & {
  /**
   * For how long a second process keeps the log as it is when this one was killed, in milliseconds: a start
   * meanwhile reads no file whole. Default 30000; 0: there is no such process.
   */
  readonly holdLogMs?: number | undefined;
  /** Gives the start up: then it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
};

export interface FollowerStatus extends ReplicationStatus {
  /**
   * How far the copies are behind, in milliseconds: 0 if all that was seen is on stable storage in every copy,
   * else how long ago the oldest commit was written of those that are not.
   */
  readonly lagMs: number;
  /**
   * Of what was made durable last: the time from the last write to the log before it was seen until every copy
   * had it on stable storage, in milliseconds. The clock of file times ticks every few of them.
   */
  readonly lastLagMs: number;
  /** The longest such time since the status was last asked for; 0 if there was none. */
  readonly worstLagMs: number;
  /** How many commits were seen since it began to follow. */
  readonly commits: number;
  /** Does the file system wake it? Else it looks every 250 ms. */
  readonly isWoken: boolean;
  /** The process that holds the log, too, in case that this one is killed, by its pid; null: none does just now. */
  readonly deputy: number | null;
}

/** How long a commit may go unseen if the file system does not tell of it, in milliseconds. */
const POLL_MS = 250;
/** After how long without a commit others' checkpoints are let through, in milliseconds. */
const QUIET_MS = 128;
/** How often it is looked whether the replicas have come in, in milliseconds. */
const COMING_MS = 10;
/** How long a start waits for the deputy to hold the log, in milliseconds; else it does so later. */
const DEPUTY_MS = 5000;
const HOLD_LOG_MS = 30_000;
/** Others write while the copies are looked at: how often a start is tried that they were in the way of. */
const TRIES = 10;

/**
 * Brings the copies in step, and resolves when all are; then follows until `stop`.
 *
 * @throws LockstepError NOT_WAL if the primary is in another journal mode; any code of the start. Where
 *   a start would have to compare whole files it refuses: `lockstep sync` does that while nobody writes
 */
export async function replicate(
  primary: string,
  replicas: readonly string[],
  { signal, holdLogMs = HOLD_LOG_MS, ...options }: ReplicateOptions = {},
): Promise<Follower> {
  const wrong = wrongWithHold(holdLogMs);
  if (wrong !== null) throw badHold(wrong);
  const read = readOptions({ ...options, replicas, durability: "barrier" }, {}) as Replication;
  const stream = replicas.find(isStream);
  if (stream !== undefined) throw takesFiles(stream);
  const path = realPath(primary);
  const deputy = new Deputy(path, holdLogMs);
  for (let tries = 1; ; tries++) {
    try {
      signal?.throwIfAborted();
      const { later, past } = planFor(loadDriver("node:sqlite"), path, read.replicas);
      deputy.begin();
      const hub = openForeign(path, { ...read, foreign: { past, deputy } }, later);
      return await begin(hub, path, { deputy, later, read, signal });
    } catch (error) {
      const isBusy = error instanceof LockstepError && error.code === codes.BUSY;
      if (isBusy && tries < TRIES) continue;
      deputy.cancel();
      throw error;
    }
  }
}

export class Follower {
  /** As an open database has it: status, events, and the barrier `durable()`, for whoever committed. */
  readonly replication: ReplicationHandle;
  /** Resolves when it was stopped; rejects with what ended it: nothing is mirrored any more. */
  readonly ended: Promise<void>;
  readonly #hub: Hub;
  readonly #deputy: Deputy;
  readonly #log: string;
  #watcher: fs.FSWatcher | null = null;
  #isWoken = true;
  #timer: NodeJS.Timeout | null = null;
  #next: NodeJS.Immediate | null = null;
  /** When it is looked again if nothing is new, in milliseconds. */
  #pauseMs = 1;
  /** SQLite's counter of commits, as it was last seen. */
  #counter: number;
  #commits = 0;
  /** When the oldest was written of those that are on their way, and of those whose turn is next. */
  #underWay: number | null = null;
  #waiting: number | null = null;
  #lastLagMs = 0;
  #worstLagMs = 0;
  #isStopped = false;
  #stopped: Promise<void> | null = null;
  #resolve!: () => void;
  #reject!: (error: unknown) => void;

  /** @internal Every replica is in step. */
  constructor(hub: Hub, primary: string, deputy: Deputy) {
    this.#hub = hub;
    this.#deputy = deputy;
    this.replication = hub.replication;
    this.#log = walPath(primary);
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ended.catch(() => {}); // who did not ask is told by the event `failed`
    this.#counter = hub.commits;
    this.replication.once("failed", (error) => this.#fail(error));
    this.#watch();
    this.#look();
  }

  get status(): FollowerStatus {
    const now = Date.now();
    const oldest = this.#underWay ?? this.#waiting;
    const worstLagMs = this.#worstLagMs;
    this.#worstLagMs = 0;
    return {
      ...this.replication.status,
      lagMs: oldest === null ? 0 : Math.max(0, now - oldest),
      lastLagMs: this.#lastLagMs,
      worstLagMs,
      commits: this.#commits,
      isWoken: this.#isWoken,
      deputy: this.#deputy.pid,
    };
  }

  /**
   * Mirrors what is committed by now, folds it if nobody is in the way, and lets go of all copies.
   * @throws LockstepError what it failed with in that; what ended it before is told by `ended` alone
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    try {
      if (!this.#isStopped) await this.replication.durable();
    } finally {
      // What failed, before or meanwhile, lets go of the copies itself.
      if (this.#isStopped) await this.ended.catch(() => {});
      else await this.#letGo();
    }
  }

  async #letGo(): Promise<void> {
    this.#rest();
    await this.#deputy.end(); // its mark would be in the way of the last fold
    this.#hub.disconnect(null, () => {});
    this.#resolve();
  }

  #watch(): void {
    const unwoken = (): void => {
      this.#isWoken = false;
      this.#watcher?.close();
    };
    try {
      this.#watcher = fs.watch(this.#log, () => this.#wake());
      this.#watcher.on("error", unwoken); // then the pauses have to do
    } catch {
      unwoken(); // as where there are no watches left
    }
  }

  #wake(): void {
    this.#pauseMs = 1;
    this.#next ??= setImmediate(this.#look);
  }

  readonly #look = (): void => {
    if (this.#isStopped) return;
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#next) clearImmediate(this.#next);
    this.#next = null;
    try {
      this.#hub.gate();
      this.#deputy.tend();
      this.#note(this.#hub.commits);
      if (this.#pauseMs >= QUIET_MS) this.#hub.giveWay();
    } catch (error) {
      this.#fail(this.#hub.failure ?? error);
      return;
    }
    this.#timer = setTimeout(this.#look, this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, POLL_MS);
  };

  #note(counter: number): void {
    if (counter === this.#counter) return;
    // An index that was built anew counts from 0.
    this.#commits += counter > this.#counter ? counter - this.#counter : counter;
    this.#counter = counter;
    this.#pauseMs = 1;
    this.#waiting ??= fs.statSync(this.#log, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    void this.#settle();
  }

  /** Makes durable what was seen; what is seen meanwhile goes together afterwards. */
  async #settle(): Promise<void> {
    if (this.#underWay !== null) return;
    while (this.#waiting !== null && !this.#isStopped) {
      this.#underWay = this.#waiting;
      this.#waiting = null;
      try {
        await this.replication.durable();
      } catch (error) {
        this.#fail(error);
        return;
      }
      this.#lastLagMs = Math.max(0, Date.now() - this.#underWay);
      this.#worstLagMs = Math.max(this.#worstLagMs, this.#lastLagMs);
      this.#underWay = null;
    }
  }

  #fail(error: unknown): void {
    if (this.#isStopped) return;
    this.#rest();
    // Not within what failed: it may be in the middle of a step.
    setImmediate(async () => {
      try {
        await leave(this.#hub, this.#deputy, error);
        this.#hub.disconnect(null, () => {});
      } finally {
        this.#reject(error);
      }
    });
  }

  #rest(): void {
    this.#isStopped = true;
    this.#watcher?.close();
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#next) clearImmediate(this.#next);
  }
}

// --- internal ---

interface Beginning {
  readonly deputy: Deputy;
  readonly later: ReadonlyMap<string, LockstepError>;
  readonly read: Replication;
  readonly signal: AbortSignal | undefined;
}

/** Waits until every replica has come in; with `degrade` only for those that can. */
async function begin(hub: Hub, primary: string, beginning: Beginning): Promise<Follower> {
  const { deputy, signal } = beginning;
  try {
    while (!hasAll(hub, beginning)) await delay(COMING_MS, undefined, { signal });
    await deputy.takeOver(DEPUTY_MS);
    await hub.replication.durable();
    return new Follower(hub, primary, deputy);
  } catch (error) {
    // What fails is tried again: it shall find the log that was held for it.
    if (hub.failure) await leave(hub, deputy, hub.failure);
    else if (deputy.hasRelieved && !signal?.aborted) deputy.abandon();
    else await deputy.end();
    hub.disconnect(null, () => {});
    throw hub.failure ?? beginning.signal?.reason ?? error;
  }
}

/**
 * The deputy goes on holding the log for the next start, as after a kill; but not one that no start can use and only a
 * checkpoint saves, which it would be in the way of.
 */
async function leave(hub: Hub, deputy: Deputy, failure: unknown): Promise<void> {
  const isUnsummed = failure instanceof LockstepError && failure.code === codes.PRIMARY_UNSUMMED;
  if (!isUnsummed) {
    deputy.abandon();
    return;
  }
  // durable, in this order: what others may fold is vouched for by no log
  hub.distrustLog();
  await deputy.end();
}

/** @throws LockstepError what keeps a replica out that must not be */
function hasAll(hub: Hub, { deputy, later, read }: Beginning): boolean {
  hub.gate();
  deputy.tend();
  const { replicas } = hub.replication.status;
  const missing = replicas.filter(({ state }) => state !== "mirroring");
  const stuck = missing.filter(
    ({ path, lastError }) => lastError !== later.get(path) && lastError?.code !== codes.BUSY,
  );
  const copies = 1 + replicas.length - missing.length;
  const [first] = stuck;
  if (first?.lastError && copies < read.minCopies) throw first.lastError;
  return missing.length === stuck.length;
}

/** What is wrong with `holdLogMs`, to stand behind its name; null if nothing is. */
export function wrongWithHold(value: unknown): string | null {
  const isRight = Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 0x7fffffff;
  return isRight ? null : "must be an integer from 0 to 2147483647, in milliseconds";
}

function badHold(wrong: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `Option \`holdLogMs\` ${wrong}`,
    state: "Nothing was opened",
    next: "Correct the options",
  });
}

function takesFiles(stream: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: streamName(stream),
    what: "A primary that other programs write is mirrored to files only, and this is a stream",
    state: "Nothing was opened",
    next: "Name a file; a process that opens the primary itself may name a stream",
  });
}
