/**
 * The hub: everything that one primary and its replicas have in a thread. Connections of that
 * thread to the same primary share it; the first opens it, the last one's close brings the copies
 * to rest. A second thread or process is refused by the sidecar's lock.
 */
import fs from "node:fs";
import { isAsynchronous, isStream } from "../address.ts";
import { tellApplication } from "../application.ts";
import { type DriverName, loadDriver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { InvariantError, invariant } from "../invariant.ts";
import { walPath } from "../lineage/describe.ts";
import { formatPosition } from "../lineage/position.ts";
import { completeCutOff } from "../lineage/resync.ts";
import {
  type DurableOptions,
  type ReplicationEvents,
  ReplicationHandle,
  type ReplicationStatus,
} from "../observe.ts";
import { Watcher } from "../watch/watcher.ts";
import { assertTimeout, Barrier, deadline } from "./barrier.ts";
import { Checkpointer, type CheckpointOutcome } from "./checkpoint.ts";
import type { HubClient } from "./client.ts";
import { everyStep } from "./every-step.ts";
import type { HubOptions } from "./foreign-start.ts";
import { defect, Gate, gateFailure } from "./gate.ts";
import { lookAhead } from "./glimpse.ts";
import { Healer } from "./heal.ts";
import { Images } from "./images.ts";
import { metricsOf } from "./metrics-of.ts";
import { Mirror } from "./mirror.ts";
import { Peek } from "./peek.ts";
import { placesOf } from "./places.ts";
import { Primary } from "./primary.ts";
import { Rejoins } from "./rejoins.ts";
import { type Member, Roster } from "./roster.ts";
import { Scrubber } from "./scrubber.ts";
import { isSame, openedOtherwise } from "./sharing.ts";
import { allocate, Slots } from "./slots.ts";
import { warnOfVersion } from "./sqlite-version.ts";
import { bringTogether } from "./start.ts";
import { readIndex, statusOf } from "./status-of.ts";
import { noteStreams } from "./streams.ts";
import { watchedOf } from "./watched.ts";

/** How many bytes of frames may be under way between the threads; larger commits go in pieces. */
const RING_BYTES = 2 << 20;

export class Hub {
  readonly replication: ReplicationHandle;
  readonly #key: string;
  readonly #driver: DriverName;
  readonly #options: HubOptions;
  readonly #primary: Primary;
  readonly #roster: Roster;
  readonly #gate: Gate;
  /** With durability `barrier`: who waits for what was committed. */
  readonly #barrier: Barrier | null;
  readonly #checkpointer: Checkpointer;
  /** Looks for rot, if that was asked for. */
  readonly #scrubber: Scrubber | null;
  readonly healer: Healer | null; // null where other programs write as they like
  readonly #clients = new Set<HubClient>();
  readonly #onClose: () => void;
  #rejoins: Rejoins | null = null;
  /** If a replica is a stream. */
  #images: Images | null = null;
  #watcher: Watcher | null = null;
  #references = 1;
  #failure: LockstepError | null = null;

  /**
   * @param absent the replicas that are not at hand, and why
   * @param onClose nobody may share it any more
   */
  constructor(
    key: string,
    driver: DriverName,
    options: HubOptions,
    { absent, onClose }: { absent: ReadonlyMap<string, LockstepError>; onClose: () => void },
  ) {
    this.#key = key;
    this.#onClose = onClose;
    this.#driver = driver;
    this.#options = options;
    const memory = allocate(options.replicas.length, RING_BYTES);
    const slots = new Slots(memory);
    const { replicaTimeout: timeout, checkpointBytes, durability, minCopies, onProgress } = options;
    const { replicas: addresses, scrubBytesPerSecond: pace } = options;
    const known = (stream: string): number => this.#primary.streams[stream] ?? 0;
    const context = { driver, memory, slots, timeout, onProgress, primary: key, addresses, known };
    const places = placesOf(key, addresses, absent);
    this.#primary = new Primary(loadDriver(driver), key, options.foreign?.deputy);
    const [mirrors, peek]: [Mirror[], Peek] = [[], new Peek(context, places)];
    try {
      completeCutOff(loadDriver(driver), this.#primary.sidecar);
      const mayRest = !fs.existsSync(walPath(key)) && absent.size === 0;
      const paths = places.map((path, i) => {
        const why = absent.get(addresses[i] as string) ?? null;
        if (why || isAsynchronous(addresses[i] as string)) return [path, null, why] as const;
        const [glimpsed, isBulk] = lookAhead(loadDriver(driver), this.#primary, path, mayRest);
        const mirror = new Mirror(context, path, i, glimpsed, isBulk);
        mirrors.push(mirror);
        return [path, mirror, null] as const;
      });
      this.#roster = new Roster(this.#primary, minCopies, paths);
      this.#gate = new Gate(this.#primary, this.#roster, { memory, slots, timeout });
      bringTogether(loadDriver(driver), this.#primary, mirrors, this.#gate, options, peek);
      const [primary, roster, gate] = [this.#primary, this.#roster, this.#gate];
      this.#checkpointer = new Checkpointer(primary, roster, gate, { ...context, checkpointBytes });
      const waiting = { slots, timeout, fence: (error: unknown) => this.#fence(error) };
      this.#barrier =
        durability === "barrier" ? new Barrier(this.#gate, this.#primary, waiting) : null;
      const live = { primary, roster, gate, checkpointer: this.#checkpointer };
      const asked = { ...live, ...waiting, clients: this.#clients, barrier: this.#barrier };
      this.healer = options.foreign ? null : new Healer({ ...asked, failure: () => this.#failure });
      gate.meter.begin(primary.readIndex().change);
      this.replication = new ReplicationHandle({
        status: () => this.#status(),
        metrics: () => metricsOf(this.#status(), { ...live, slots, watcher: this.#watcher }),
        durable: (waiting) => this.#durable(waiting),
        durableSync: (patience) => this.#durableSync(patience),
      });
      if (addresses.some(isStream)) this.#images = new Images({ ...live, timeout }, addresses);
      this.#rejoins = new Rejoins({ ...context, ...live }, peek, this.#tend);
      this.#roster.onDetached = (member, mirror) => this.#degraded(member, mirror);
      this.#roster.onRejoined = ({ path }) => this.#tell("rejoined", path);
      this.#roster.begin();
    } catch (error) {
      this.#abandon(mirrors);
      throw gateFailure(key, error);
    }
    warnOfVersion(this.#primary.sqliteVersion(), driver);
    for (const mirror of mirrors) this.#heed(mirror);
    const copies = [key, ...places] as const;
    const scrubbing = { tell: this.#tell, healer: this.healer, durable: () => this.#durable() };
    this.#scrubber = pace > 0 ? new Scrubber(copies, pace, scrubbing) : null;
    const [roster, checkpointer, clients] = [this.#roster, this.#checkpointer, this.#clients];
    this.#watcher = new Watcher(
      watchedOf(copies, this.#primary, { roster, checkpointer, clients, scrubber: this.#scrubber }),
      options,
      { begun: this.#tell.bind(null, "warning"), over: this.#tell.bind(null, "warning-over") },
    );
  }

  /** Its failure is noticed at once, even when nobody commits. */
  #heed(mirror: Mirror): void {
    mirror.onFailure = (failure) => {
      if (this.#failure) return;
      try {
        this.#gate.lose(mirror, failure);
      } catch (error) {
        this.#fence(error);
      }
    };
  }

  /** What fenced the connections, or null. */
  get failure(): LockstepError | null {
    return this.#failure;
  }

  /** Another connection of this thread opens the same primary. */
  share(driver: DriverName, options: HubOptions): void {
    if (this.#failure) throw this.#failure;
    const [mine, theirs] = [this.#options, options];
    if (driver !== this.#driver || !isSame(mine, theirs)) {
      throw openedOtherwise(this.#key, this.#driver, mine.durability);
    }
    this.#references++;
  }

  /**
   * The application's connection is open: give it the settings that replication needs.
   * @throws LockstepError PRIMARY_IO if it is open on another file than ours
   */
  connect(client: HubClient): void {
    // durable: no connection to another file
    if (!this.#primary.hasItsName()) throw gateFailure(this.#key, new Error("it was replaced"));
    client.exec("PRAGMA synchronous=NORMAL"); // the gate syncs; SQLite need not
    client.exec("PRAGMA wal_autocheckpoint=0"); // see checkpoint.ts
    this.#clients.add(client);
  }

  /**
   * After anything that may have committed. Returns when every copy holds it on stable storage; with
   * durability `barrier` as soon as it is noted.
   * @throws LockstepError: the transaction may be on some copies and not on others; fenced
   */
  gate(): void {
    if (this.#failure) throw this.#failure;
    const begun = this.#barrier ? 0 : performance.now();
    let news: boolean;
    try {
      if (this.#barrier && !this.#barrier.isDue()) return;
      news = this.#barrier ? this.#gate.note() : this.#gate.pass();
      if (!news && !this.#primary.foreign) return;
      if (news) this.#barrier?.touch();
    } catch (error) {
      throw this.#fence(error);
    }
    // The commit is where it must be. A checkpoint that fails fences what comes after it, not this.
    const isFolded = this.#checkpoint(() => {
      const outcome = this.#checkpointer.advance();
      if (!outcome) this.#primary.growAhead();
      return outcome;
    });
    if (this.#rejoins?.isDue(isFolded) || !this.#roster.isWhole) this.#tend(isFolded);
    if (this.#images) this.#checkpoint(() => this.#images?.advance() ?? null);
    if (news && !this.#barrier) this.#gate.meter.committed(begun);
  }

  /** Of a primary that others write: SQLite's counter of commits. @throws LockstepError if it was replaced */
  get commits(): number {
    if (this.#failure) throw this.#failure;
    if (this.#primary.hasItsName()) return this.#primary.index.change;
    throw this.#fence(new Error("its file was removed or replaced"));
  }

  /** Others write the primary, and have not for a while. */
  giveWay(): void {
    if (!this.#failure) this.#checkpoint(() => this.#checkpointer.giveWay());
  }

  /** Of a primary that others write: its log does not prove what its file may come to hold. */
  distrustLog(): void {
    this.#primary.distrustLog(this.#gate.durable);
  }

  /** Attends to replicas that commits go on without. */
  readonly #tend = (isFolded = false): void => {
    if (this.#failure) return;
    try {
      if (!this.#roster.isWhole) this.#gate.handOver(); // else what was noted stays together
      if (!isFolded) this.#checkpoint(() => this.#checkpointer.advance());
      for (const mirror of this.#rejoins?.advance() ?? []) this.#heed(mirror);
      this.#gate.pollMirrors();
      this.#roster.complete((index, head) => this.#gate.hasConfirmed(index, head));
    } catch (error) {
      this.#fence(error);
    }
  };

  /** Commits go on without a replica: it is on record. */
  #degraded(member: Member, mirror: Mirror | null): void {
    const { path, lastError } = member;
    this.#rejoins?.begin(member, mirror);
    if (!lastError) return; // asynchronous, and it was not tried yet
    // Not before the caller of a constructor could listen.
    queueMicrotask(() => this.#tell("degraded", path, lastError));
  }

  /**
   * A connection closes. `closeNative` runs first: if it throws, nothing has changed.
   * @param client null if it was never connected
   */
  disconnect(client: HubClient | null, closeNative: () => void): void {
    invariant(this.#references > 0, "nobody lets go who does not hold", { primary: this.#key });
    closeNative();
    if (client) this.#clients.delete(client);
    this.#references--;
    if (this.#references === 0) this.#close();
  }

  /** Closed, without a failure: then everything is durable. */
  get #isAtRest(): boolean {
    return this.#references === 0 && !this.#failure;
  }

  #durable(options?: DurableOptions): Promise<string> {
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
    this.#gate.meter.checkpointed(done);
    if (done) this.#tell("checkpoint");
    else this.#tell("checkpoint-postponed", because, sinceMs);
    return done;
  }

  /** A listener that throws is the application's affair, not that of the commit under way. */
  readonly #tell = <Name extends keyof ReplicationEvents>(
    event: Name,
    ...what: ReplicationEvents[Name]
  ): void => {
    tellApplication(() => this.replication?.emit(event, ...what));
  };

  /** The last connection is closed: bring the copies to rest, or leave them as after a crash. */
  #close(): void {
    this.#onClose();
    this.#scrubber?.close();
    this.#watcher?.close();
    const known = this.#failure;
    const stopped = everyStep([() => this.#rejoins?.stop(!known), () => this.#images?.stop()]);
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
      ...this.#roster.attached.map((mirror) => () => this.#closeMirror(mirror, folded, event)),
      () => this.#rejoins?.close(),
      () => noteStreams(this.#primary, this.#roster.connected),
      () => this.#primary.close(folded, event),
      () => this.#checkpointer.close(),
    ]);
    if (failed ?? stopped) this.#fence((failed ?? stopped)?.error);
    const failure =
      this.#failure ?? this.#roster.attached.find((mirror) => mirror.failure)?.failure;
    if (failure && !known) throw failure;
  }

  /** One that fails in this is done without, too, if the policy allows it; else it is told in the end. */
  #closeMirror(mirror: Mirror, fold: boolean, event: string): void {
    const failed = everyStep([() => mirror.close(fold, event)]);
    const { failure } = mirror;
    const isDoneWithout =
      failure !== null && !this.#failure && !everyStep([() => this.#gate.lose(mirror, failure)]);
    if (failed && !isDoneWithout) throw failed.error;
  }

  #fence(error: unknown): LockstepError {
    if (this.#failure) return this.#failure;
    const failure =
      error instanceof InvariantError ? defect(this.#key, error) : gateFailure(this.#key, error);
    this.#failure = failure;
    for (const client of this.#clients) client.onFence(failure);
    this.#barrier?.fail(failure);
    this.#tell("failed", failure);
    if (error instanceof InvariantError) throw error; // our bug: it stops the process
    return failure;
  }

  /** A start that was refused: let go of everything, change nothing. */
  #abandon(mirrors: readonly Mirror[]): void {
    this.#rejoins?.stop();
    everyStep([
      ...mirrors.map((mirror) => () => mirror.close(false, "")),
      () => this.#primary.close(false, ""),
    ]);
  }

  #status(): ReplicationStatus {
    const isClosed = this.#references === 0;
    const fence = (error: unknown): LockstepError => this.#fence(error);
    const log = isClosed || this.#failure ? null : readIndex(this.#primary, fence);
    const { durable, waits } = this.#gate;
    const { rot = [], healed = 0 } = this.#scrubber ?? {};
    const warnings = this.#watcher?.warnings ?? [];
    const now = { log, durable, waits, rot, healed, warnings, failure: this.#failure, isClosed };
    return statusOf(this.#primary, this.#roster, now);
  }
}
