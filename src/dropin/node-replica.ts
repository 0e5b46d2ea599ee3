/**
 * `openReplica` for `node:sqlite`.
 */
import type * as sqlite from "node:sqlite";
import { loadDriver, READ } from "../driver.ts";
import {
  type Feeding,
  locateReplica,
  openOrExplain,
  type ReachOptions,
  Replica as Reader,
  type ReplicaMethods,
} from "../replica/replica.ts";
import { native } from "./node-sqlite.ts";

/** A read-only `DatabaseSync` of `node:sqlite` that knows where its content stands. */
export interface Replica extends sqlite.DatabaseSync, ReplicaMethods {
  /** Nothing is replicated from here. */
  readonly replication: null;
}

/** The driver's; `timeout` is 5000 if it is not given. */
export type ReplicaOptions = Omit<sqlite.DatabaseSyncOptions, "readOnly" | "open">;

/**
 * Opens a replica for reading, in whatever process, also while it is mirrored into. Nothing is written
 * to it; while it is open a checkpoint waits for its transactions, as for any reader's.
 * @throws LockstepError NOT_A_DATABASE, REPLICA_UNKNOWN (it has no record), LOCKED (another SQLite
 *   library of this process has it), UNREADABLE, BUSY
 */
export function openReplica(path: string, options: ReplicaOptions = {}): Replica {
  return new ReplicaSync(locateReplica("node:sqlite", path), options);
}

// --- internal ---

const WAIT_MS = 5000;

/** @param feeding what brings the copy on, if closing it here ends that */
export class ReplicaSync extends native.DatabaseSync implements Replica {
  readonly replication = null;
  readonly #file: string;
  readonly #feeding: Feeding | null;
  #reader: Reader | null = null;

  constructor(file: string, options: ReplicaOptions, feeding: Feeding | null = null) {
    super(file, { timeout: WAIT_MS, ...options, readOnly: true, open: false });
    this.#file = file;
    this.#feeding = feeding;
    this.open();
  }

  override open(): void {
    openOrExplain(this.#file, () => {
      super.open();
      const connection = {
        read: () => void super.prepare(READ).get(),
        exec: (sql: string) => super.exec(sql),
      };
      try {
        connection.read();
        const driver = loadDriver("node:sqlite");
        this.#reader = new Reader(driver, this.#file, connection, this.#feeding);
      } catch (error) {
        super.close();
        throw error;
      }
    });
  }

  override close(): void {
    super.close();
    this.#reader?.close();
    this.#reader = null;
  }

  override [Symbol.dispose](): void {
    if (this.#reader) this.close();
  }

  get position(): string | null {
    return this.#reader?.position ?? null;
  }

  async reach(position: string, options?: ReachOptions): Promise<string> {
    if (!this.#reader) super.exec(""); // which throws
    return (this.#reader as Reader).reach(position, options);
  }
}
