/**
 * What a mirror does with the frames that reach it.
 *
 * Invariants:
 *   - up to `position.frame` the replica's log is, byte for byte, the primary's of that generation;
 *     what lies behind is zeroes or older frames;
 *   - nothing is written that does not continue the checksum chain of what stands there;
 *   - a new generation's header is written only when the replica's file holds all of the previous
 *     one, synced, and the sidecar names the new generation and the position it stands on;
 *   - nothing is confirmed as the end of a transaction before it is synced, nor shown to readers.
 */
import { codes, LockstepError } from "../errors.ts";
import type { FramesRecord, Window } from "../gate/ring.ts";
import { pause } from "../gate/slots.ts";
import { invariant } from "../invariant.ts";
import { readFingerprint, sameFingerprint, stampFingerprint } from "../lineage/fingerprint.ts";
import { keeperOf } from "../lineage/keeper.ts";
import type { LeftAt, Position } from "../lineage/position.ts";
import type { Sidecar } from "../lineage/sidecar.ts";
import { changed, gone } from "../targets/file.ts";
import type { Target } from "../targets/target.ts";
import { type Commit, walkFrames } from "../wal/chain.ts";
import {
  decodeWalHeader,
  frameOffset,
  frameSize,
  type Salts,
  type Sums,
  sameSalts,
  sameSums,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "../wal/format.ts";

/** How long to wait for a reader of the replica before trying again, in milliseconds. */
const READER_WAIT_MS = 5;
/** How much of one transaction may be unsynced, so that no sync takes longer than a deadline. */
const SYNC_EVERY_BYTES = 64 << 20;

export class Delivery {
  readonly #target: Target;
  readonly #sidecar: Sidecar;
  /** The generation in the replica's log; null while it has none. */
  #header: WalHeader | null;
  #position: Position;
  readonly #wanted: () => boolean;
  /** Goes on record with what the file holds. */
  leftAt: LeftAt;
  #unsyncedBytes = 0;
  /** The end of what readers were shown of this generation. */
  #shown: Sums & { readonly frame: number };
  /** The pages of the frames since then, and the last of these frames that ends a transaction. */
  #pages: number[] = [];
  #commit: Commit | null = null;
  /**
   * The first frame of a delivery that is to be there whole or not at all; true: it is still to come;
   * false: there is no such delivery under way.
   */
  #kept: { readonly bytes: Uint8Array; readonly offset: number } | boolean = false;
  /** Is all folded, and does the wal-index say so, so that no new reader needs the log? */
  #restartable = false;

  /** @param wanted false once the committing thread has given up waiting */
  constructor(
    target: Target,
    sidecar: Sidecar,
    at: { readonly header: WalHeader | null; readonly position: Position },
    wanted: () => boolean,
  ) {
    this.#target = target;
    this.#sidecar = sidecar;
    this.#header = at.header;
    this.#position = at.position;
    this.#shown = at.position;
    this.#wanted = wanted;
    this.leftAt = sidecar.state.leftAt ?? {};
    const { frame, ...position } = at.position;
    if (at.header) {
      const end = { ...position, pageSize: at.header.pageSize, frames: frame };
      target.show(end);
      target.cutBehind(end); // durable: nothing behind the log's end continues it, replica
    }
    target.hold();
  }

  /** What the replica holds; durable after `sync`. */
  get position(): Position {
    return this.#position;
  }

  /** The first frame that it lacks of the generation of a position. */
  next({ salt1, salt2 }: Salts): number {
    return sameSalts(this.#position, { salt1, salt2 }) ? this.#position.frame + 1 : 1;
  }

  /** Verifies the frames of one record and writes those that the replica does not have yet. */
  deliver(record: FramesRecord, window: Window): void {
    const headerSize = record.first === 1 ? WAL_HEADER_SIZE : 0;
    if (!this.#header || !sameSalts(this.#header, record)) this.#begin(record, window);
    const header = this.#header as WalHeader;
    invariant(header.pageSize === record.pageSize, "a generation has one page size", { record });

    // A replica that is further than another in the same start gets what it has already.
    const have = this.#position.frame;
    invariant(record.first <= have + 1, "frames are delivered without a gap", { record, have });
    const skip = Math.min(have - (record.first - 1), record.frames);
    const count = record.frames - skip;
    if (count > 0) {
      const size = frameSize(header.pageSize);
      const at = window.at + headerSize + skip * size;
      const first = record.first + skip;
      const pages = this.#pages;
      const walk = walkFrames(window.bytes, at, count, first, this.#position, header, (_, page) =>
        pages.push(page),
      );
      // durable: nothing that does not verify
      if (walk.frames !== count) throw broken(wrongFrame(first + walk.frames, record, have));
      // durable: nothing into a log that is not ours
      this.#target.check({ ...header, frames: have });
      if (first === 1) {
        // The header goes first, alone and synced. A power cut while frames are written may leave
        // any of their blocks as they were; under the old header, older frames would be valid again.
        this.#target.write(window.bytes, window.at, WAL_HEADER_SIZE, 0);
        this.#target.sync(); // durable: a new header before its frames
        // The index still speaks of the generation before, which is folded: it begins anew, too.
        this.#target.show({ ...header, frames: 0 });
      }
      const from = this.#kept === true ? this.#keepBack(window.bytes, at, first, header) : 0;
      this.#target.write(
        window.bytes,
        at + from,
        count * size - from,
        frameOffset(first, header.pageSize) + from,
      );
      this.#assertWanted(); // durable: what was overwritten while it was written is not shown
      this.#unsyncedBytes += count * size;
      this.#commit = walk.lastCommit ?? this.#commit;
      this.#position = { ...this.#position, frame: have + count, ...pick(walk.sums) };
      if (this.#unsyncedBytes >= SYNC_EVERY_BYTES && this.#kept === false) this.sync();
    }
    if (record.ends && this.#position.frame === record.first + record.frames - 1) {
      if (!sameSums(this.#position, record)) throw broken("the log ends in another checksum");
    }
  }

  /**
   * What is delivered from here on to the next sync is in the log whole or not at all, whatever fails: its
   * first frame is written last, and without that no other continues the chain.
   */
  beginWhole(): void {
    invariant(this.#unsyncedBytes === 0, "nothing else is under way");
    this.#kept = true;
  }

  /** Keeps the first frame back; returns its size. */
  #keepBack(bytes: Uint8Array, at: number, frame: number, { pageSize }: WalHeader): number {
    const size = frameSize(pageSize);
    const offset = frameOffset(frame, pageSize);
    this.#kept = { bytes: bytes.slice(at, at + size), offset };
    return size;
  }

  #writeKept(): void {
    const kept = this.#kept;
    this.#kept = false;
    if (typeof kept === "boolean") return;
    this.#target.sync(); // durable: the other frames before the first
    this.#target.write(kept.bytes, 0, kept.bytes.length, kept.offset);
  }

  /** Everything delivered is on stable storage and visible to readers. */
  sync(): void {
    if (this.#unsyncedBytes === 0) {
      this.#kept = false;
      return;
    }
    this.#writeKept();
    const commit = this.#commit;
    const log = this.#header as WalHeader;
    if (commit) this.#target.prepare(log, this.#shown, this.#pages, commit);
    this.#target.sync(); // durable: the replica has the commit
    this.#restartable = false; // durable: new frames are folded before a restart
    this.#unsyncedBytes = 0;
    if (!commit) return;
    this.#target.publish(log, commit);
    const rest = commit.frame - this.#shown.frame;
    if (rest === this.#pages.length) this.#pages.length = 0;
    else this.#pages = this.#pages.slice(rest); // a transaction whose end is still to come
    this.#shown = commit;
    this.#commit = null;
  }

  /** Nobody waits just now: makes room for what is to come. */
  growAhead(): void {
    if (this.#header) this.#target.growAhead({ ...this.#header, frames: this.#position.frame });
  }

  /** From now on the file may differ from what is on record: its log is being folded. */
  beginFold(): void {
    this.#target.hold();
    this.#sidecar.beginFold();
  }

  /** Folds the log, if there is one, into the file if no reader is in the way, and records it. */
  fold(): boolean {
    invariant(this.#unsyncedBytes === 0, "only synced frames are folded");
    if (this.#restartable || !this.#header) return true;
    this.#sidecar.beginFold(); // durable: a checkpoint is under way, replica
    const { frame: frames, ...end } = this.#position;
    // durable: the replica is folded
    if (!this.#target.fold({ ...end, frames, pageSize: this.#header.pageSize })) return false;
    this.#restartable = true;
    const sums = keeperOf(this.#sidecar).keep(frames);
    const { copy, state } = this.#sidecar;
    const file = stampFingerprint(copy, () => this.#target.syncFile(), state.folded?.file);
    // durable: what the file holds, replica
    const folded = { position: this.#position, file, sums };
    this.#sidecar.amend({ folding: false, folded, leftAt: this.leftAt });
    return true;
  }

  /** @throws LockstepError if the committing thread has moved on: what was read may be overwritten */
  #assertWanted(): void {
    if (!this.#wanted()) throw nobodyWaits(this.#sidecar.copy);
  }

  /** A record of a generation that the replica's log does not hold yet. */
  #begin(record: FramesRecord, window: Window): void {
    invariant(record.first === 1, "a new generation begins at its first frame", { record });
    const header = decodeWalHeader(window.bytes.subarray(window.at, window.at + WAL_HEADER_SIZE));
    if (!header || !sameSalts(header, record)) throw broken("the log's header is not valid");
    this.#assertWanted(); // durable: no generation on a base that the replica does not hold
    this.sync();
    // durable: no new generation over an unfolded one
    while (!this.fold()) {
      this.#assertWanted();
      pause(READER_WAIT_MS); // the committing thread keeps the deadline
    }
    const base = this.#position;
    const { copy, state } = this.#sidecar;
    const file = readFingerprint(copy);
    if (!file) throw gone(copy, "Its file was removed");
    // durable: no new generation over a file that another program wrote
    if (!state.folded || !sameFingerprint(state.folded.file, file))
      throw changed(copy, "Another program wrote the replica's file");
    // durable: the replica's generation is on record
    const { salt1, salt2 } = header;
    this.#sidecar.amend({ generation: { salt1, salt2, base } }, [base]);
    this.#restartable = false;
    this.#header = header;
    this.#position = {
      timeline: base.timeline,
      salt1: header.salt1,
      salt2: header.salt2,
      frame: 0,
      ...pick(header),
    };
    this.#shown = this.#position;
    this.#pages = [];
    this.#commit = null;
  }
}

function pick({ sum1, sum2 }: { sum1: number; sum2: number }): { sum1: number; sum2: number } {
  return { sum1, sum2 };
}

function nobodyWaits(copy: string): LockstepError {
  return new LockstepError(codes.REPLICA_TIMEOUT, {
    copy,
    what: "Nobody waited any more when the replica got to what it was to write",
    state: "It holds all that was acknowledged until then",
    next: "Check its disk, and for readers that keep its log from restarting; then reopen",
  });
}

/** With all that says how it may have come about. */
function wrongFrame(frame: number, record: FramesRecord, have: number): string {
  const { first, frames, pageSize, salt1, salt2 } = record;
  const generation = [salt1, salt2].map((salt) => salt.toString(16).padStart(8, "0")).join("");
  return `frame ${frame} has a wrong checksum (of frames ${first} to ${first + frames - 1} in generation ${generation}, pages of ${pageSize} bytes; the replica had ${have})`;
}

function broken(why: string): LockstepError {
  return new LockstepError(codes.PRIMARY_IO, {
    copy: null,
    what: `What was read from the primary's log does not verify: ${why}`,
    state:
      "It was not acknowledged; the replica holds all that was, and may hold this transaction besides",
    next: "Check the primary's disk and memory, then: lockstep verify PRIMARY REPLICA",
  });
}
