/**
 * One open connection of the application's to a replicated database.
 *
 * Invariants:
 *   - what may have committed passes the gate before its result, or its error, is seen;
 *   - once the hub has failed, everything but close() and properties throws that failure;
 *   - the hub holds the driver's database object weakly: what the application drops is collected.
 */
import { type DriverName, isClosed } from "../driver.ts";
import { LockstepError } from "../errors.ts";
import type { HubClient } from "../gate/client.ts";
import type { Hub } from "../gate/hub.ts";
import { openHub } from "../gate/open-hub.ts";
import type { Replication } from "../options.ts";
import type { OpenTransaction } from "../warning.ts";
import { Begun } from "./open-transaction.ts";
import { Prototypes } from "./prototypes.ts";

/** What is to be replicated: the primary's path, and how. */
export interface Request {
  readonly path: string;
  readonly replication: Replication;
}

/** The driver's own methods, past ours. */
export interface Native<Database extends object> {
  readonly driver: DriverName;
  exec(db: Database, sql: string): void;
  close(db: Database): void;
  inTransaction(db: Database): boolean;
}

const connections = new WeakMap<object, Connection>();

/** The connection of a database that is open and replicated; of anything else undefined. */
export function connectionOf(db: unknown): Connection | undefined {
  return connections.get(db as object);
}

/**
 * Brings the copies together, opens the driver's connection, and puts it under the gate.
 * @param open opens with the driver alone; what it throws passes through
 */
export function connect<Database extends object>(
  request: Request,
  native: Native<Database>,
  open: () => Database,
): Database {
  const hub = openHub(native.driver, request.path, request.replication);
  let db: Database;
  try {
    db = open();
  } catch (error) {
    try {
      hub.disconnect(null, () => {});
    } catch {
      // The driver's own error is what the caller asked for; the next start finds the copies as they are.
    }
    throw error;
  }
  const client = clientOf(db, native);
  connections.set(db, new Connection(hub, client, request.path, () => native.inTransaction(db)));
  try {
    hub.connect(client);
  } catch (error) {
    connections.delete(db);
    hub.disconnect(client, () => native.close(db));
    throw error;
  }
  dropped.register(db, { hub, client }, client);
  return db;
}

/** To drop a database closes it, with the drivers as with us: the driver's finalizer goes first. */
const dropped = new FinalizationRegistry<{ hub: Hub; client: HubClient }>(({ hub, client }) => {
  setImmediate(() => {
    try {
      hub.disconnect(client, () => {});
    } catch (error) {
      if (!(error instanceof LockstepError)) throw error; // nobody is left but listeners of "failed"
    }
  });
});

function clientOf<Database extends object>(db: Database, native: Native<Database>): HubClient {
  const held = new WeakRef(db);
  return {
    exec(sql) {
      const db = held.deref();
      if (db) native.exec(db, sql);
    },
    onFence(failure) {
      connectionOf(held.deref())?.fence(failure);
    },
    transaction: () => connectionOf(held.deref())?.transaction ?? null,
    closeNative() {
      const db = held.deref();
      if (!db) return;
      connectionOf(db)?.closedAtExit();
      try {
        native.close(db);
      } catch {
        // Busy with an iterator that nobody will finish: the process ends as in a crash.
      }
    },
  };
}

export class Connection {
  /** The primary's path. */
  readonly path: string;
  /** Gives the driver's objects their methods. */
  readonly prototypes: Prototypes;
  /** What fenced this connection, or null. */
  failure: LockstepError | null = null;
  readonly #hub: Hub;
  readonly #client: HubClient;
  readonly #inTransaction: () => boolean;
  #open = true;
  /** What is known of the transaction that is open. */
  #begun: Begun | null = null;
  /** How many of the driver's functions that end what they begin are under way. */
  #within = 0;

  constructor(hub: Hub, client: HubClient, path: string, inTransaction: () => boolean) {
    this.#hub = hub;
    this.#client = client;
    this.path = path;
    this.#inTransaction = inTransaction;
    this.prototypes = new Prototypes(this);
  }

  get replication(): Hub["replication"] | null {
    return this.#open ? this.#hub.replication : null;
  }

  /** @throws LockstepError if the connection is fenced */
  check(): void {
    if (this.failure) throw this.failure;
  }

  /**
   * Executes what may commit in any of its steps; returns when that is durable everywhere.
   * @param statement its SQL, or what has it: for a transaction that it may leave open
   */
  commit<Result>(execute: () => Result, statement: unknown): Result {
    this.check();
    const result = this.settle(execute);
    // COMMIT; BEGIN: another one is open than before.
    if (this.#begun && typeof statement === "string" && ENDS.test(statement)) this.#begun = null;
    this.#leavesOpen(statement);
    return result;
  }

  /** The same for a single statement: if it leaves a transaction open, it has committed nothing. */
  commitOne<Result>(execute: () => Result, statement: unknown): Result {
    this.check();
    return this.settle(execute, () => !this.#leavesOpen(statement));
  }

  /** The same for a function of the driver's that ends the transaction that it begins. */
  commitWhole<Result>(execute: () => Result): Result {
    this.#within++;
    try {
      this.check();
      return this.settle(execute);
    } finally {
      this.#within--;
    }
  }

  /** The same for what only lets go of statements: that works on a fenced connection too. */
  release<Result>(execute: () => Result): Result {
    return this.failure ? execute() : this.settle(execute);
  }

  /** The same without asking first whether the connection is fenced. */
  settle<Result>(execute: () => Result, mayHaveCommitted: (result: Result) => boolean = always) {
    let result: Result;
    try {
      result = execute();
    } catch (error) {
      throw this.#settled(error);
    }
    if (mayHaveCommitted(result)) this.#gate();
    return result;
  }

  /**
   * What to throw for a driver's error: OR FAIL, or the first of several statements, may have
   * committed before it. If that cannot be made durable either, this is what the caller must know
   * first; the driver's error is its cause. (`replication.status.failure` has the failure's own.)
   */
  #settled(error: unknown): unknown {
    try {
      this.#gate();
      return error;
    } catch (failure) {
      if (!(failure instanceof LockstepError) || error instanceof LockstepError) return failure;
      const { code, copy, what, state, next } = failure;
      return new LockstepError(code, { copy, what, state, next, cause: error });
    }
  }

  #gate(): void {
    if (this.#open) this.#hub.gate();
  }

  /** Is a transaction open? Then it is remembered. */
  #leavesOpen(statement: unknown): boolean {
    const isOpen = this.#inTransaction();
    if (!isOpen) this.#begun = null;
    else if (this.#within === 0) this.#begun ??= new Begun(statement);
    return isOpen;
  }

  /** The transaction that is open, if one is; perhaps it was not seen to begin. */
  get transaction(): OpenTransaction | null {
    try {
      if (this.#open && this.#inTransaction()) return (this.#begun ??= new Begun(null));
    } catch (error) {
      if (!isClosed(error)) throw error; // past the drop-in: then none is
    }
    this.#begun = null;
    return null;
  }

  /** Called once, when the hub fails. */
  fence(failure: LockstepError): void {
    this.failure = failure;
    this.prototypes.fence(failure);
  }

  /**
   * Closes the driver's connection, and the copies with the last one. If the driver refuses to,
   * nothing has changed.
   * @throws LockstepError if the last commits could not be made durable; it is closed nevertheless
   */
  close(db: object, closeNative: () => void): void {
    let late: unknown = null;
    try {
      if (!this.#open) return; // at the exit of the process
      const healthy = this.#hub.failure === null;
      this.#hub.disconnect(this.#client, () => {
        closeNative();
        this.#open = false;
        try {
          if (healthy) this.#hub.gate(); // closing ends statements that were left in the middle
        } catch (failure) {
          late = failure;
        }
      });
    } finally {
      if (!this.#open) {
        connections.delete(db);
        dropped.unregister(this.#client);
      }
    }
    if (late) throw late;
  }

  /** The exit of the process closes it; a close() that comes still has nothing to do. */
  closedAtExit(): void {
    this.#open = false;
  }
}

/** But for ROLLBACK TO, which ends no transaction. */
const ENDS = /\b(?:commit|end|rollback)\b(?!\s+(?:transaction\s+)?to\b)/i;

function always(): boolean {
  return true;
}
