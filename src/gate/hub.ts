/**
 * The hub: everything that one primary and its replicas have in a thread. Connections of that
 * thread to the same primary share it; the first opens it, the last one's close brings the copies
 * to rest. A second thread or process is refused by the sidecar's lock.
 */
import fs from "node:fs";
import { type DriverName, loadDriver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { InvariantError } from "../invariant.ts";
import { realPath, walPath } from "../lineage/describe.ts";
import { formatPosition, type Position } from "../lineage/position.ts";
import {
  type DurableOptions,
  type ReplicaStatus,
  ReplicationHandle,
  type ReplicationStatus,
} from "../observe.ts";
import type { Replication } from "../options.ts";
import { frameOffset, sameSalts } from "../wal/format.ts";
import type { SharedIndex } from "../wal/shared-index.ts";
import { Barrier, deadline } from "./barrier.ts";
import { Checkpointer, type CheckpointOutcome } from "./checkpoint.ts";
import { everyStep } from "./every-step.ts";
import { Gate, gateFailure } from "./gate.ts";
import { glimpse } from "./glimpse.ts";
import { Mirror } from "./mirror.ts";
import { Primary } from "./primary.ts";
import { allocate, Slots } from "./slots.ts";
import { warnOfWalReset } from "./sqlite-version.ts";
import { bringTogether } from "./start.ts";

/** How many bytes of frames may be under way between the threads; larger commits go in pieces. */
const RING_BYTES = 4 << 20;

/** A connection of the application's, as its hub sees it. */
export interface HubClient {
  /** Runs SQL on the connection, past every gate. */
  exec(sql: string): void;
  /** The hub has failed; called once. */
  onFence(error: LockstepError): void;
  /** Closes the connection at process exit, if the application never did. */
  closeNative(): void;
}

const hubs = new Map<string, Hub>();

/**
 * Locks the copies, proves their lineage and brings them together; before the application's own
 * connection is opened. A second call for the same primary shares the first one's hub.
 * @throws LockstepError, any code of the start
 */
export function openHub(driver: DriverName, path: string, options: Replication): Hub {
  const key = realPath(path);
  const shared = hubs.get(key);
  if (shared) {
    shared.share(driver, options);
    return shared;
  }
  const hub = new Hub(key, driver, options);
  hubs.set(key, hub);
  return hub;
}

export class Hub {
  readonly replication: ReplicationHandle;
  readonly #key: string;
  readonly #driver: DriverName;
  readonly #options: Replication;
  readonly #primary: Primary;
  readonly #mirrors: Mirror[] = [];
  readonly #gate: Gate;
  /** With durability `barrier`: who waits for what was committed. */
  readonly #barrier: Barrier | null;
  readonly #checkpointer: Checkpointer;
  readonly #clients = new Set<HubClient>();
  #references = 1;
  #failure: LockstepError | null = null;

  constructor(key: string, driver: DriverName, options: Replication) {
    this.#key = key;
    this.#driver = driver;
    this.#options = options;
    const memory = allocate(options.replicas.length, RING_BYTES);
    const slots = new Slots(memory);
    const { replicaTimeout: timeout, onProgress } = options;
    distinct(key, options.replicas);
    this.#primary = new Primary(loadDriver(driver), key);
    try {
      const context = { driver, memory, slots, timeout, onProgress };
      const replicas = options.replicas.map(realPath);
      const mayRest = !fs.existsSync(walPath(key));
      const glimpsed = replicas.map((path) => (mayRest ? glimpse(loadDriver(driver), path) : null));
      replicas.forEach((path, i) => {
        this.#mirrors.push(new Mirror(context, path, i, glimpsed[i] ?? null));
      });
      this.#gate = new Gate(this.#primary, this.#mirrors, { memory, slots, timeout });
      bringTogether(loadDriver(driver), this.#primary, this.#mirrors, this.#gate, options);
      const { checkpointBytes, durability } = options;
      const aheadContext = { driver, memory, slots, timeout, checkpointBytes };
      this.#checkpointer = new Checkpointer(this.#primary, this.#mirrors, this.#gate, aheadContext);
      const waiting = { slots, timeout, fence: (error: unknown) => this.#fence(error) };
      this.#barrier =
        durability === "barrier" ? new Barrier(this.#gate, this.#primary, waiting) : null;
    } catch (error) {
      this.#abandon();
      throw gateFailure(key, error);
    }
    warnOfWalReset(this.#primary.sqliteVersion(), driver);
    for (const mirror of this.#mirrors) mirror.onFailure = (failure) => this.#fence(failure);
    this.replication = new ReplicationHandle(() => this.#status(), {
      durable: (waiting) => this.#durable(waiting),
      durableSync: (patience) => this.#durableSync(patience),
    });
  }

  /** What fenced the connections, or null. */
  get failure(): LockstepError | null {
    return this.#failure;
  }

  /** Another connection of this thread opens the same primary. */
  share(driver: DriverName, options: Replication): void {
    if (this.#failure) throw this.#failure;
    const same =
      driver === this.#driver &&
      options.durability === this.#options.durability &&
      options.replicas.length === this.#options.replicas.length &&
      options.replicas.every((path, i) => path === this.#options.replicas[i]);
    if (!same) {
      throw new LockstepError(codes.BAD_OPTION, {
        copy: this.#key,
        what: `This thread has it open already with ${this.#driver}, durability ${this.#options.durability} and its replicas`,
        state: "The open connection is not affected",
        next: "Open it with the same of all three, or close the other connection first",
      });
    }
    this.#references++;
  }

  /** The application's connection is open: give it the settings that replication needs. */
  connect(client: HubClient): void {
    client.exec("PRAGMA synchronous=NORMAL"); // the gate syncs; SQLite need not
    client.exec("PRAGMA wal_autocheckpoint=0"); // see checkpoint.ts
    this.#clients.add(client);
    exitHook();
  }

  /**
   * After anything that may have committed. Returns when every copy holds it on stable storage; with
   * durability `barrier` as soon as it is noted.
   * @throws LockstepError: the transaction may be on some copies and not on others; fenced
   */
  gate(): void {
    if (this.#failure) throw this.#failure;
    try {
      if (!(this.#barrier ? this.#gate.note() : this.#gate.pass())) return;
    } catch (error) {
      throw this.#fence(error);
    }
    this.#barrier?.touch();
    // The commit is where it must be. A checkpoint that fails fences what comes after it, not this.
    this.#checkpoint(() => {
      const outcome = this.#checkpointer.advance();
      if (!outcome) this.#primary.growAhead();
      return outcome;
    });
  }

  /**
   * A connection closes. `closeNative` runs first: if it throws, nothing has changed.
   * @param client null if it was never connected
   */
  disconnect(client: HubClient | null, closeNative: () => void): void {
    closeNative();
    if (client) this.#clients.delete(client);
    this.#references--;
    if (this.#references === 0) this.#close();
  }

  /** Closed, without a failure: then everything is durable. */
  get #isAtRest(): boolean {
    return this.#references === 0 && !this.#failure;
  }

  #durable(options: DurableOptions | undefined): Promise<string> {
    try {
      assertTimeout(options?.timeout);
      if (this.#isAtRest) return Promise.resolve(formatPosition(this.#gate.durable));
      // What is noted already need not be looked for: the round that is waited for takes it all.
      if (this.#failure || !this.#barrier || !this.#gate.noted) this.gate();
      return this.#barrier?.durable(options) ?? Promise.resolve(formatPosition(this.#gate.durable));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #durableSync(patience: number | undefined): string {
    assertTimeout(patience);
    if (this.#isAtRest) return formatPosition(this.#gate.durable);
    this.gate();
    try {
      this.#gate.handOver();
      const settled = this.#gate.settled || this.#gate.settle(patience);
      if (!settled) throw deadline(this.#key, patience as number);
    } catch (error) {
      const isLate = error instanceof LockstepError && error.code === codes.DEADLINE;
      throw isLate ? error : this.#fence(error);
    }
    return formatPosition(this.#gate.durable);
  }

  /** At process exit: what the application left open. */
  closeAll(): void {
    for (const client of [...this.#clients]) this.disconnect(client, () => client.closeNative());
  }

  #checkpoint(work: () => CheckpointOutcome | null): boolean {
    let outcome: CheckpointOutcome | null;
    try {
      outcome = work();
    } catch (error) {
      this.#fence(error);
      return false;
    }
    if (!outcome) return false;
    const { done, because, sinceMs } = outcome;
    this.#tell(() => {
      if (done) this.replication.emit("checkpoint");
      else this.replication.emit("checkpoint-postponed", because, sinceMs);
    });
    return done;
  }

  /** A listener that throws is the application's affair, not that of the commit under way. */
  #tell(emit: () => void): void {
    try {
      emit();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  /** The last connection is closed: bring the copies to rest, or leave them as after a crash. */
  #close(): void {
    hubs.delete(this.#key);
    const known = this.#failure;
    let folded = false;
    if (!known) {
      try {
        this.#gate.pass(); // what an abandoned iterator committed when it was closed
        folded = this.#checkpoint(() => this.#checkpointer.finish());
      } catch (error) {
        this.#fence(error);
      }
    }
    this.#barrier?.close();
    const event = this.#failure ? `failed: ${(this.#failure as LockstepError).code}` : "closed";
    // A primary that keeps its log may lose the end of it yet: then the replicas keep theirs, too.
    const failed = everyStep([
      () => this.#checkpointer.rest(), // nobody writes a copy's file when its lock is let go
      ...this.#mirrors.map((mirror) => () => mirror.close(folded, event)),
      () => this.#primary.close(folded, event),
      () => this.#checkpointer.close(),
    ]);
    if (failed) this.#fence(failed.error);
    const failure = this.#failure ?? this.#mirrors.find((mirror) => mirror.failure)?.failure;
    if (failure && !known) throw failure;
  }

  #fence(error: unknown): LockstepError {
    if (this.#failure) return this.#failure;
    const failure =
      error instanceof InvariantError
        ? new LockstepError(codes.WORKER_DIED, {
            copy: this.#key,
            what: error.message,
            state: "Whether the last transaction is on every copy is unknown",
            next: "This is a defect of Lockstep: report it; reopen to bring the copies together",
            cause: error,
          })
        : gateFailure(this.#key, error);
    this.#failure = failure;
    for (const client of this.#clients) client.onFence(failure);
    this.#barrier?.fail(failure);
    this.#tell(() => this.replication?.emit("failed", failure));
    if (error instanceof InvariantError) throw error; // our bug: it stops the process
    return failure;
  }

  /** A start that was refused: let go of everything, change nothing. */
  #abandon(): void {
    everyStep([
      ...this.#mirrors.map((mirror) => () => mirror.close(false, "")),
      () => this.#primary.close(false, ""),
    ]);
  }

  #status(): ReplicationStatus {
    const { position } = this.#primary;
    const { durable } = this.#gate;
    const closed = this.#references === 0;
    const log = this.#failure || closed ? null : this.#primary.readIndex();
    return {
      primary: {
        path: this.#key,
        position: formatPosition(position),
        logBytes: log ? frameOffset(log.frames + 1, log.pageSize) : 0,
      },
      replicas: this.#mirrors.map(
        (mirror): ReplicaStatus => ({
          path: mirror.path,
          state: mirror.failure ? "failed" : closed ? "closed" : "mirroring",
          position: mirror.failure ? null : formatPosition(durable),
          lag: log ? framesBetween(durable, log) : 0,
          lastError: mirror.failure,
        }),
      ),
      waits: this.#gate.waits,
      failure: this.#failure,
    };
  }
}

function assertTimeout(timeout: unknown): void {
  if (timeout === undefined || (typeof timeout === "number" && timeout >= 0)) return;
  throw new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `Option \`timeout\` must be a number of milliseconds, not ${String(timeout)}`,
    state: "Nothing was waited for",
    next: "Correct the option",
  });
}

/** How many frames of the log are after a position. */
function framesBetween(position: Position, log: SharedIndex): number {
  return sameSalts(position, log) ? Math.max(0, log.frames - position.frame) : log.frames;
}

/** A copy of a file on itself is none. */
function distinct(primary: string, replicas: readonly string[]): void {
  const seen = new Set<string>();
  for (const path of [primary, ...replicas].map(realPath)) {
    const file = fs.statSync(path, { throwIfNoEntry: false });
    const names = [path, ...(file ? [`${file.dev}:${file.ino}`] : [])];
    if (names.some((name) => seen.has(name))) {
      throw new LockstepError(codes.BAD_OPTION, {
        copy: path,
        what: "Two of the copies are the same file",
        state: "Nothing was opened",
        next: "Name a different path for each replica, on another disk if it is to survive this one",
      });
    }
    for (const name of names) seen.add(name);
  }
}

let exitHooked = false;

/** A database that was never closed is closed at exit, or the driver would do it behind our back. */
function exitHook(): void {
  if (exitHooked) return;
  exitHooked = true;
  process.on("exit", () => {
    for (const hub of [...hubs.values()]) {
      try {
        hub.closeAll();
      } catch (error) {
        // Nobody is left to catch it; the next start finds the copies as after a crash.
        process.exitCode ||= 1;
        console.error(error);
      }
    }
  });
}
