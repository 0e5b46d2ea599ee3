/**
 * A connection that reads a copy while others write it: where it stands, and waiting until it stands
 * further. Each drop-in has a class of its driver's around this (dropin/node-replica.ts,
 * dropin/better-replica.ts).
 */
import { isStream, streamName } from "../address.ts";
import { type Driver, type DriverName, isBusy, isIdle, loadDriver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { isThere, realPath } from "../lineage/describe.ts";
import { descriptorHere } from "../lineage/open-here.ts";
import { formatPosition, type Position, parsePosition } from "../lineage/position.ts";
import { sidecarPath } from "../lineage/sidecar.ts";
import { Waiting } from "./reach.ts";
import { RecordReader } from "./record.ts";
import { type Seen, Standing } from "./standing.ts";

/** How long a caller of `reach()` is willing to wait. */
export interface ReachOptions {
  /** Stops waiting: rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Stops waiting after so many milliseconds. Default 60000. */
  readonly timeout?: number | undefined;
}

/** What a replica that is read has beside its driver's methods. */
export interface ReplicaMethods {
  /**
   * What a read that begins now sees: `timeline/generation/frame/checksum`; null if it cannot be proven
   * just now. A transaction or an iterator that is open goes on seeing what it began with.
   */
  readonly position: string | null;
  /**
   * Resolves when every read that begins on this connection sees the content at `position`, or later
   * content of the same past; with the position that they see.
   * @param position as `durable()` returned it, or the status of a replica: one that every copy has
   * @throws LockstepError DEADLINE if that was not so in time; DIVERGED if this replica's content is
   *   another at that point; REPLICA_GONE if the file was moved or replaced meanwhile; BAD_OPTION; the
   *   signal's reason; the driver's error if the connection is closed
   */
  reach(position: string, options?: ReachOptions): Promise<string>;
}

/** What brings a copy on, where the connection has to do with that: standby/follower.ts. */
export interface Feeding {
  /** Why it has ended before it was told to; null: it has not. */
  readonly failure: Error | null;
  onEnd: () => void;
  stop(): void;
}

/** The driver's connection. */
export interface ReadConnection {
  /** Begins a read and ends it, if none is open. */
  read(): void;
  /** Runs SQL, past the application's ears. */
  exec(sql: string): void;
}

const DEFAULT_TIMEOUT_MS = 60_000;
const LONGEST_TIMER_MS = 0x7fffffff;

/**
 * The file that is meant, if it can be a replica that this process may read with this driver.
 * @throws LockstepError BAD_OPTION, NOT_A_DATABASE, REPLICA_UNKNOWN, LOCKED
 */
export function locateReplica(driver: DriverName, given: string): string {
  if (isStream(given)) {
    const next = "openStandby(STREAM, PATH) makes a copy of it at PATH and keeps that up";
    throw refused(codes.BAD_OPTION, streamName(given), "It is a stream, and no file", next);
  }
  const file = realPath(given);
  if (!isThere(file)) {
    throw refused(codes.NOT_A_DATABASE, file, "There is no database", "Check the path");
  }
  const record = new RecordReader(loadDriver(driver), file).read();
  if (!record?.state.databaseId) {
    const next = "Name a copy that Lockstep has made, or open it with the driver itself";
    throw refused(codes.REPLICA_UNKNOWN, file, "It has no record of being a replica", next);
  }
  const owner = descriptorHere(sidecarPath(file)) === null ? null : record.owner;
  if (owner?.pid === process.pid && owner.driver !== driver) {
    const what = `This process has it in use with ${owner.driver}, and two SQLite libraries in one process do not see each other's locks`;
    throw refused(codes.LOCKED, file, what, `Read it with ${owner.driver}, or in another process`);
  }
  return file;
}

/** Opens; an error of SQLite's says what it means for a replica. */
export function openOrExplain<T>(file: string, open: () => T): T {
  try {
    return open();
  } catch (cause) {
    if (cause instanceof LockstepError || !isOfSqlite(cause)) throw cause;
    throw new LockstepError(isBusy(cause) ? codes.BUSY : codes.UNREADABLE, {
      copy: file,
      what: `SQLite cannot read it: ${(cause as Error).message}`,
      state: "Nothing was changed",
      next:
        "SQLite needs a log and an index beside a replica: while nobody has it open, only a process " +
        "that may write in its directory can make them",
      cause,
    });
  }
}

export class Replica {
  readonly #connection: ReadConnection;
  readonly #standing: Standing;
  readonly #waiting: Waiting<Seen>;
  readonly #feeding: Feeding | null;

  /**
   * @param path of `locateReplica`; the connection has it open, and has read once
   * @param feeding stopped when the connection is closed; if it ends before, whoever waits is told why
   */
  constructor(
    driver: Driver,
    path: string,
    connection: ReadConnection,
    feeding: Feeding | null = null,
  ) {
    this.#connection = connection;
    this.#feeding = feeding;
    if (feeding) feeding.onEnd = () => this.#waiting.wake();
    this.#standing = new Standing(driver, path, () => connection.read());
    this.#waiting = new Waiting(path, () => this.#glance());
  }

  get position(): string | null {
    const seen = this.#standing.look();
    return seen && this.#standing.isInPlace ? formatPosition(seen.position) : null;
  }

  async reach(text: string, { signal, timeout }: ReachOptions = {}): Promise<string> {
    const target = parsePosition(String(text));
    if (!target) throw badOption(`A position is timeline/generation/frame/checksum, not ${text}`);
    const patience = timeout ?? DEFAULT_TIMEOUT_MS;
    if (!(typeof patience === "number" && patience >= 0)) {
      throw badOption(
        `Option \`timeout\` must be a number of milliseconds, not ${String(timeout)}`,
      );
    }
    signal?.throwIfAborted();
    return this.#wait(target, patience, signal);
  }

  /** The connection was closed: whoever waits is told. */
  close(): void {
    this.#feeding?.stop();
    this.#waiting.wake();
  }

  #wait(target: Position, timeout: number, signal: AbortSignal | undefined): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const waiter = {
      look: (seen: Seen): boolean => {
        try {
          const containment = this.#standing.contains(target, seen);
          if (containment === "contained") resolve(formatPosition(seen.position));
          if (containment === "apart") reject(apart(this.#standing.path, target, seen.position));
          const failure = this.#feeding?.failure ?? null;
          if (failure) reject(failure); // it will not come any further
          return containment !== "not yet" || failure !== null;
        } catch (error) {
          reject(error);
          return true;
        }
      },
      fail: reject,
    };
    const give = (error: unknown): void => {
      reject(error);
      this.#waiting.delete(waiter);
    };
    const onAbort = (): void => give(signal?.reason);
    const late = (): void => give(this.#feeding?.failure ?? this.#deadline(target, timeout));
    const timer = setTimeout(late, Math.min(timeout, LONGEST_TIMER_MS));
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(waiter);
    return promise.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    });
  }

  /** What reads that begin now see; null if it cannot be proven just now. */
  #glance(): Seen | null {
    if (!this.#isFree()) return null;
    const seen = this.#standing.look();
    if (!this.#standing.isInPlace) throw gone(this.#standing.path);
    return seen;
  }

  /** Does a read that begins now see what is there now? An open one sees what that began with. */
  #isFree(): boolean {
    return isIdle((sql) => this.#connection.exec(sql));
  }

  #deadline(target: Position, timeout: number): LockstepError {
    let at: string | null = null;
    let open = false;
    let cause: unknown;
    try {
      open = !this.#isFree();
      at = this.position;
    } catch (error) {
      cause = error; // a disk that fails just now, or the connection was closed: nothing may throw out of a timer
    }
    const where = at ? `reads see ${at}` : "what reads see is not proven just now";
    return new LockstepError(codes.DEADLINE, {
      copy: this.#standing.path,
      what: `It did not reach ${formatPosition(target)} within ${timeout} ms: ${
        open ? "a transaction or an iterator is open on this connection" : where
      }`,
      state: "Nothing was changed; it may reach it at any moment",
      next: open ? "End that first" : "Ask again, or see where the copies stand: lockstep status",
      cause,
    });
  }
}

// --- internal ---

function isOfSqlite(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && /^(ERR_SQLITE_ERROR|SQLITE_)/.test(code);
}

function badOption(what: string): LockstepError {
  const [state, next] = ["Nothing was waited for", "Correct it"];
  return new LockstepError(codes.BAD_OPTION, { copy: null, what, state, next });
}

function refused(code: LockstepError["code"], copy: string, what: string, next: string) {
  return new LockstepError(code, { copy, what, state: "Nothing was opened", next });
}

function gone(copy: string): LockstepError {
  return new LockstepError(codes.REPLICA_GONE, {
    copy,
    what: "The file or its index was moved or replaced since it was opened",
    state: "This connection goes on reading what it opened",
    next: "Close it and open the replica anew",
  });
}

function apart(copy: string, target: Position, at: Position): LockstepError {
  return new LockstepError(codes.DIVERGED, {
    copy,
    what: `Its content at that point is another: it stands at ${formatPosition(at)}, and does not contain ${formatPosition(target)}`,
    state: "Nothing was changed",
    next: "lockstep verify PRIMARY REPLICA; the position is of a branch that was given up, or of another program",
  });
}
