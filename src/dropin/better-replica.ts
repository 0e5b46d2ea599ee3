/**
 * `openReplica` for better-sqlite3.
 */
import { loadDriver, READ } from "../driver.ts";
import type { OptionName } from "../options.ts";
import {
  type Feeding,
  locateReplica,
  openOrExplain,
  type ReachOptions,
  Replica as Reader,
  type ReplicaMethods,
} from "../replica/replica.ts";
import { hushed, Original } from "./better-sqlite3.ts";
import type { Database, Options } from "./better-sqlite3-types.ts";

/** A read-only database of better-sqlite3 that knows where its content stands. */
export interface Replica extends Database, ReplicaMethods {
  /** Nothing is replicated from here. */
  readonly replication: null;
}

/** The driver's. */
export type ReplicaOptions = Omit<
  Options,
  OptionName | "readonly" | "fileMustExist" | "nativeBinding" | "journalFd"
>;

/**
 * Opens a replica for reading, in whatever process, also while it is mirrored into. Nothing is written
 * to it; while it is open a checkpoint waits for its transactions, as for any reader's.
 * @throws LockstepError NOT_A_DATABASE, REPLICA_UNKNOWN (it has no record), LOCKED (another SQLite
 *   library of this process has it), UNREADABLE, BUSY
 */
export function openReplica(path: string, options: ReplicaOptions = {}): Replica {
  const file = locateReplica("better-sqlite3", path);
  return openOrExplain(file, () => new BetterReplica(file, options));
}

// --- internal ---

/** @param feeding what brings the copy on, if closing it here ends that */
export class BetterReplica extends Original implements Replica {
  override readonly replication = null;
  readonly #reader: Reader;

  constructor(file: string, options: ReplicaOptions, feeding: Feeding | null = null) {
    const quiet = { now: true };
    super(file, {
      ...(hushed(options, quiet) as Options),
      readonly: true,
      fileMustExist: true,
    });
    const quietly = (work: () => unknown): void => {
      quiet.now = true;
      try {
        work();
      } finally {
        quiet.now = false;
      }
    };
    const connection = {
      read: () => quietly(() => super.prepare(READ).get()),
      exec: (sql: string) => quietly(() => super.exec(sql)),
    };
    try {
      connection.read();
      this.#reader = new Reader(loadDriver("better-sqlite3"), file, connection, feeding);
    } catch (error) {
      super.close();
      throw error;
    }
  }

  override close(): this {
    super.close();
    this.#reader.close();
    return this;
  }

  get position(): string | null {
    return this.open ? this.#reader.position : null;
  }

  async reach(position: string, options?: ReachOptions): Promise<string> {
    return this.#reader.reach(position, options);
  }
}
