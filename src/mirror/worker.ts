/**
 * A mirror worker: the thread that owns one replica, from its lock to its last sync. Besides it only the
 * backfiller writes to the replica's file, after this one put that on record.
 *
 *   1  look      lock the sidecar, describe the replica, report it
 *   2  prepare   do what the committing thread decides: copy, delta, compare, adopt, install a log
 *   3  catch up  if commits go on meanwhile: append what the primary's log holds
 *   4  mirror    deliver what comes through the ring, sync, confirm; fold when told
 *   5  close     fold if possible, record, let go
 *
 * Steps 1 and 2 run on the event loop (a child process does the bulk work), the others block on the
 * shared cells. Whatever goes wrong is posted as `failed`; then the worker only waits to be closed.
 */
import { isDeepStrictEqual } from "node:util";
import { receiveMessageOnPort } from "node:worker_threads";
import { type Driver, loadDriver } from "../driver.ts";
import { codes, LockstepError, toErrorData } from "../errors.ts";
import type { Command, Report, WorkerData } from "../gate/messages.ts";
import { RingReader } from "../gate/ring.ts";
import { Slots, states } from "../gate/slots.ts";
import { invariant } from "../invariant.ts";
import type { Watch } from "../lineage/bulk.ts";
import type { SpareChild } from "../lineage/child.ts";
import { type Copy, describeCopy, logFrames } from "../lineage/describe.ts";
import { type Ahead, keeperOf } from "../lineage/keeper.ts";
import { dropLeft, keepLeft } from "../lineage/left-at.ts";
import { type LeftAt, type Position, samePosition } from "../lineage/position.ts";
import { completeCutOff } from "../lineage/resync.ts";
import { Sidecar } from "../lineage/sidecar.ts";
import { trustLog } from "../lineage/trust-log.ts";
import { takeBackUnbegun } from "../lineage/unbegun.ts";
import { changed, FileTarget, gone } from "../targets/file.ts";
import { rewriteLog } from "../targets/log-file.ts";
import type { Target } from "../targets/target.ts";
import { frameOffset } from "../wal/format.ts";
import { Delivery } from "./delivery.ts";
import { replicaFailure } from "./failure.ts";
import { follow } from "./follow.ts";

/** Ends when the replica is let go. @param spare for work on whole files, if that is expected */
export function runMirror(data: WorkerData, spare: SpareChild | null): Promise<void> {
  return new Worker(data, spare).run();
}

// --- internal ---

class Worker {
  readonly #data: WorkerData;
  readonly #slots: Slots;
  /** Null until it is told from where to mirror. */
  #ring: RingReader | null = null;
  readonly #driver: Driver;
  #sidecar: Sidecar | null = null;
  /** For work on whole files, if that is expected. */
  readonly #spare: SpareChild | null;
  #target: Target | null = null;
  #delivery: Delivery | null = null;
  /** How far the ring is confirmed. */
  #confirmed = 0;
  /** Is the end of a transaction written and not yet synced? */
  #unsynced = false;
  #failed = false;
  #done = false;

  constructor(data: WorkerData, spare: SpareChild | null) {
    this.#data = data;
    this.#spare = spare;
    this.#slots = new Slots(data.memory);
    this.#driver = loadDriver(data.driver);
  }

  async run(): Promise<void> {
    this.#slots.setState(this.#data.replica, states.STARTING);
    await this.#guarded(() => this.#look());
    while (!this.#done) {
      const seen = this.#slots.work();
      await this.#guarded(() => this.#drainRing());
      const message = receiveMessageOnPort(this.#data.port) as { message: Command } | undefined;
      if (message) await this.#guarded(() => this.#obey(message.message));
      else if (!this.#done) this.#slots.waitForWork(seen);
    }
  }

  /** Runs a step; a failure is posted once, and from then on only `close` is obeyed. */
  async #guarded(step: () => void | Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#failed = true;
      const failure = replicaFailure(this.#data.path, error);
      // durable: a foreign write is not rolled forward
      if (failure.code === codes.REPLICA_CHANGED) this.#distrust();
      this.#post({ type: "failed", error: toErrorData(failure) });
      this.#slots.setState(this.#data.replica, states.FAILED);
    }
  }

  /** After another program wrote here no record proves anything: the next start compares pages. */
  #distrust(): void {
    try {
      this.#sidecar?.update({ generation: null, folded: null, folding: false });
    } catch {
      // Then the next start has to find out for itself.
    }
  }

  #look(): void {
    this.#sidecar = Sidecar.open(this.#driver, this.#data.path, "replica");
    completeCutOff(this.#driver, this.#held());
    const copy = this.#describe();
    const isTakenBack = takeBackUnbegun(this.#held(), copy);
    this.#post({ type: "described", copy: isTakenBack ? this.#describe() : copy });
  }

  async #obey(command: Command): Promise<void> {
    if (this.#failed && command.type !== "close") return;
    const watch: Watch = {
      onProgress: (progress) => this.#post({ type: "progress", progress }),
      wanted: () => this.#wanted(),
      spare: this.#spare,
    };
    switch (command.type) {
      case "describe":
        return this.#post({ type: "described", copy: this.#describe() });
      case "copy": {
        const { membership, sums: wanted } = command;
        const sums = await (await preparing()).makeCopy(this.#held(), membership, wanted, watch);
        return this.#post({ type: "ready", sums });
      }
      case "compare": {
        const { primary, frame } = command;
        const { comparePages } = await preparing();
        const result = await comparePages(this.#held(), primary, frame, watch);
        return this.#post({ type: "compared", ...result });
      }
      case "trust-log":
        trustLog(this.#held());
        return this.#post({ type: "described", copy: this.#describe() });
      case "adopt": {
        const { adopt } = await preparing();
        adopt(this.#driver, this.#held(), logFrames(this.#describe()), command.membership);
        return this.#post({ type: "ready", sums: null });
      }
      case "delta": {
        const { resynchronise } = await preparing();
        const at = this.#proven();
        const { membership, sums } = command;
        await resynchronise(this.#driver, this.#held(), at, { membership, sums }, watch);
        return this.#post({ type: "ready", sums: null });
      }
      case "install-log":
        (await preparing()).installLog(this.#driver, this.#held(), command.membership);
        return this.#post({ type: "ready", sums: null });
      case "export": {
        const at = this.#proven();
        const { exportCopy } = await preparing();
        const sums = await exportCopy(this.#driver, this.#held(), at, command, watch);
        return this.#post({ type: "ready", sums });
      }
      case "attach":
        await this.#spare?.drop();
        return this.#attach(command.timeline, command.seen);
      case "follow":
        follow(this.#delivery as Delivery, command.log, command.to);
        return this.#post({ type: "followed" });
      case "join":
        this.#ring = new RingReader(this.#data.memory.ring, command.tail);
        this.#confirmed = command.tail;
        return;
      case "passed":
        return this.#passed(command.history);
      case "left":
        return this.#left(command.at, command.keep);
      case "begin-fold":
        this.#delivery?.beginFold();
        return this.#post({ type: "may-fold" });
      case "fold":
        return this.#fold(command.ahead, command.left);
      case "close":
        return this.#close(command.event, command.fold);
    }
  }

  #passed(positions: readonly Position[]): void {
    const history = this.#held().lacking(positions);
    if (history.length > 0) this.#held().update({}, { history });
  }

  #left(leftAt: LeftAt, keep: readonly Position[] | null): void {
    if (keep) keepLeft(this.#data.path, keep);
    if (this.#delivery) this.#delivery.leftAt = leftAt;
    this.#held().update({ leftAt });
    if (!keep) dropLeft(this.#data.path);
  }

  #attach(timeline: number, seen: Copy | null): void {
    if (!this.#wanted()) return; // nobody waits any more: nothing is written
    const { state } = this.#held();
    if (seen) this.#assertStill(seen);
    if (state.timeline !== timeline || state.role !== "replica") {
      // Of a primary a log may have begun and not be on record yet; a replica's always is.
      const { log, base, position } = this.#describe();
      const begun = log && base && { salt1: log.header.salt1, salt2: log.header.salt2, base };
      const generation = begun ?? state.generation;
      const history = position ? [position] : []; // where the timelines part
      // It may have been a primary that was given up: what is so its new one tells it.
      const change = { timeline, role: "replica", generation, leftAt: {} } as const;
      this.#held().update(change, { history });
      dropLeft(this.#data.path);
    }
    const { log, position } = this.#proven();
    // durable: the log is written anew, replica
    if (log) rewriteLog(this.#data.path, frameOffset(position.frame + 1, log.header.pageSize));
    this.#target = new FileTarget(this.#driver, this.#data.path);
    const at = { header: log?.header ?? null, position };
    this.#delivery = new Delivery(this.#target, this.#held(), at, () => this.#wanted());
    // A log that is folded whole, and stays because somebody has the replica open: the next commit
    // may begin a new one. Now the index says so, and no new reader will be in that commit's way.
    const { folded } = this.#held().state;
    if (log && folded && samePosition(folded.position, position)) this.#delivery.fold();
    this.#post({ type: "attached", position, copyId: this.#held().state.copyId });
    this.#slots.setState(this.#data.replica, states.ATTACHED);
  }

  /** @throws LockstepError if the replica is not what the start saw before it was locked */
  #assertStill(seen: Copy): void {
    const { file, state, log, position } = this.#describe();
    if (file === "missing") throw gone(this.#data.path, "Its file was removed");
    if (!isDeepStrictEqual(state, seen.state)) throw usedMeanwhile(this.#data.path);
    // durable: no foreign write between the look and the lock
    if (log || !position || !samePosition(position, seen.position as Position)) {
      throw changed(this.#data.path, "Another program wrote it while the primary was being opened");
    }
  }

  /** Delivers all that is in the ring; if somebody waits for it, syncs once and confirms. */
  #drainRing(): void {
    const [delivery, ring] = [this.#delivery, this.#ring];
    if (!delivery || !ring || this.#failed) return;
    const wanted = this.#slots.wanted();
    const head = this.#slots.head();
    for (let next = ring.next(head); next; next = ring.next(head)) {
      // durable: commits that went on without this replica do not reach it
      if (!this.#wanted()) return;
      delivery.deliver(next.record, next.window);
      this.#unsynced ||= next.record.ends;
      // A piece of a transaction that is larger than the ring: make room for the next piece.
      if (!this.#unsynced) this.#confirm();
    }
    if (((wanted - this.#confirmed) | 0) <= 0) return;
    const begun = performance.now();
    delivery.sync(); // durable, in this order: synced, then confirmed
    this.#confirm();
    this.#slots.synced(this.#data.replica, performance.now() - begun);
    this.#unsynced = false;
    delivery.growAhead();
  }

  #confirm(): void {
    this.#confirmed = this.#ring?.tail ?? 0;
    this.#slots.confirm(this.#data.replica, this.#confirmed);
  }

  #fold(ahead: Ahead | undefined, left: LeftAt): void {
    if (ahead !== undefined) keeperOf(this.#held()).noteAhead(ahead);
    if (this.#delivery) this.#delivery.leftAt = left;
    const done = this.#delivery?.fold() ?? false;
    const because = done ? "" : "a reader of the replica is in the way, or no descriptor is left";
    this.#post({ type: "folded", done, because });
  }

  /** Whatever fails on the way is posted; in the end the replica is let go. */
  async #close(event: string, fold: boolean): Promise<void> {
    this.#done = true;
    await this.#guarded(() => this.#spare?.drop());
    await this.#guarded(() => {
      if (!this.#failed && this.#delivery) this.#letGo(this.#delivery, event, fold);
    });
    await this.#guarded(() => this.#target?.close(false));
    await this.#guarded(() => this.#sidecar?.close());
    this.#post({ type: "closed" });
    this.#slots.setState(this.#data.replica, states.CLOSED);
    this.#data.port.close();
  }

  /** With `fold`: everything into the file, and nothing left beside it but the sidecar. */
  #letGo(delivery: Delivery, event: string, fold: boolean): void {
    delivery.sync();
    const folded = fold && delivery.fold();
    this.#held().update({}, { event: [event, ""], history: [delivery.position] });
    const target = this.#target;
    this.#target = null;
    target?.close(folded); // if not folded the log stays, and proves the position as well
  }

  #wanted(): boolean {
    return !this.#slots.givenUp(this.#data.replica);
  }

  /** It was proven when it was looked at, or made: only somebody else can have changed that. */
  #proven(): { position: Position; frames: number; log: Copy["log"] } {
    const copy = this.#describe();
    const { file, position, log, because } = copy;
    if (file === "missing") throw gone(this.#data.path, "Its file was removed");
    if (!position) throw changed(this.#data.path, `Another program wrote it: ${because}`);
    return { position, frames: logFrames(copy), log };
  }

  #describe(): Copy {
    return describeCopy(this.#data.path, this.#held());
  }

  #held(): Sidecar {
    invariant(this.#sidecar !== null, "the replica is locked");
    return this.#sidecar;
  }

  #post(report: Report): void {
    this.#data.port.postMessage(report);
    this.#slots.ring();
  }
}

function usedMeanwhile(copy: string): LockstepError {
  return new LockstepError(codes.LOCKED, {
    copy,
    what: "Another process used this copy while the primary was being opened",
    state: "Nothing was written to it; the last transaction is in the primary only",
    next: "Reopen: the start looks at both copies again",
  });
}

/** Loaded when there is something to prepare: a start in step does not wait for it. */
function preparing(): Promise<typeof import("./prepare.ts")> {
  return import("./prepare.ts");
}
