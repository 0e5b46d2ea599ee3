/**
 * Feeds a standby's file from a stream: what mirror/worker.ts does with the ring, here with messages. The file is a
 * replica as any other: the same delivery, the same target, the same record.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Driver } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { type Copy, describeCopy } from "../lineage/describe.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import type { Sidecar } from "../lineage/sidecar.ts";
import { Delivery } from "../mirror/delivery.ts";
import { replicaFailure } from "../mirror/failure.ts";
import type { Piece } from "../stream/reading.ts";
import { changed, FileTarget } from "../targets/file.ts";
import { rewriteLog } from "../targets/log-file.ts";
import { frameOffset, frameSize, sameSalts, sameSums } from "../wal/format.ts";

/** From how many bytes on its log is folded into the file. */
const FOLD_BYTES = 8 << 20;
/** How long to wait for a reader that keeps the log from being folded, in milliseconds. */
const READER_WAIT_MS = 50;

export class Feed {
  readonly #driver: Driver;
  readonly #sidecar: Sidecar;
  readonly #signal: AbortSignal;
  #target: FileTarget;
  #delivery: Delivery;
  #pageSize = 0;
  /** Bytes that were delivered and not synced. */
  unsynced = 0;

  /** Opens the copy that the record is of; it has a proven position. */
  constructor(driver: Driver, sidecar: Sidecar, signal: AbortSignal) {
    this.#driver = driver;
    this.#sidecar = sidecar;
    this.#signal = signal;
    [this.#target, this.#delivery] = this.#attach();
  }

  /** What the copy holds. */
  get position(): Position {
    return this.#delivery.position;
  }

  /**
   * Delivers a piece, or what the copy lacks of it.
   * @returns false if it does not belong on what the copy holds
   */
  async deliver(piece: Piece): Promise<boolean> {
    const { header, payload, commits } = piece;
    const { first, frames, pageSize, salt1, salt2, after, ends, base } = header;
    const { position } = this;
    const isNew = !sameSalts(position, header);
    if (isNew && (first !== 1 || !base || !samePosition(base, position))) return false;
    if (!isNew && first + frames - 1 <= position.frame) {
      const at = commits.find(({ frame }) => frame === position.frame);
      return at === undefined || sameSums(at, position);
    }
    if (!isNew && first <= position.frame) {
      const at = commits.find(({ frame }) => frame === position.frame);
      if (!at || !sameSums(at, position)) return false;
    }
    if (isNew) await this.#foldAll();
    this.#local(() => {
      const record = { first, frames, pageSize, salt1, salt2, ...after, ends };
      this.#delivery.deliver(record, { bytes: payload, at: 0, length: payload.length });
    });
    this.#pageSize = pageSize;
    this.unsynced += payload.length;
    return true;
  }

  /** What was delivered is on stable storage, and readers see it; folds a long log if no reader is in the way. */
  sync(): void {
    this.#local(() => {
      this.#delivery.sync();
      this.unsynced = 0;
      this.#delivery.growAhead();
      if (this.position.frame * frameSize(this.#pageSize) >= FOLD_BYTES) this.#delivery.fold();
    });
  }

  /** The stream is on another timeline from here on. */
  raise(timeline: number): void {
    this.sync();
    if (this.#sidecar.state.timeline >= timeline) return;
    this.#local(() => {
      const { log, position } = describeCopy(this.#sidecar.copy, this.#sidecar);
      this.#sidecar.update({ timeline }, { history: position ? [position] : [] }); // where they part
      const at = { header: log?.header ?? null, position: { ...this.position, timeline } };
      this.#delivery = new Delivery(this.#target, this.#sidecar, at, () => true);
    });
  }

  /**
   * Lets go of the copy; its log stays and proves its position.
   * @param rest fold the log and remove it, if no reader is in the way: then other programs may open the copy and
   *   close it, and it is the same file still
   */
  close(rest: boolean): void {
    let folded = false;
    this.#local(() => {
      this.#delivery.sync();
      folded = rest && this.#delivery.fold();
      this.#sidecar.update({}, { event: ["closed", ""], history: [this.position] });
    });
    this.#target.close(folded);
  }

  /** After an error. */
  abandon(): void {
    try {
      this.#target.close(false);
    } catch {
      // What came first is what matters.
    }
  }

  #attach(): [FileTarget, Delivery] {
    return this.#local(() => {
      const copy: Copy = describeCopy(this.#sidecar.copy, this.#sidecar);
      const { log, position, path } = copy;
      if (!position) throw changed(path, `Another program wrote it: ${copy.because}`);
      // durable: the log is written anew, standby
      if (log) rewriteLog(path, frameOffset(position.frame + 1, log.header.pageSize));
      const target = new FileTarget(this.#driver, path);
      const at = { header: log?.header ?? null, position };
      this.#pageSize = log?.header.pageSize ?? 0;
      return [target, new Delivery(target, this.#sidecar, at, () => true)];
    });
  }

  /** A new log begins only over a file that holds all: readers of the old one are waited for. */
  async #foldAll(): Promise<void> {
    this.sync();
    while (!this.#local(() => this.#delivery.fold())) {
      await sleep(READER_WAIT_MS, null, { signal: this.#signal });
    }
  }

  /** What goes wrong here is the copy's affair. */
  #local<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      const failure = replicaFailure(this.#sidecar.copy, error);
      // durable: no record vouches for what another program wrote
      if (failure.code === codes.REPLICA_CHANGED) this.#distrust();
      throw failure;
    }
  }

  #distrust(): void {
    try {
      this.#sidecar.update({ generation: null, folded: null, folding: false });
    } catch (error) {
      if (!(error instanceof LockstepError)) return; // the next start has to find out for itself
    }
  }
}
