import type { Commit } from "../wal/chain.ts";
import type { Salts, Sums, WalHeader } from "../wal/format.ts";

/** What a log must hold: so many frames of this generation. */
export interface LogState extends Salts {
  readonly pageSize: number;
  readonly frames: number;
}

/** A log's end: at its last frame, or at its header, it has these sums. */
export interface LogEnd extends LogState, Sums {}

/**
 * Where a copy lives. A target stores a log, byte for byte, and can fold it into the file beneath.
 * What stands in it and when it may be written is the mirror's business (mirror/delivery.ts); each
 * method here says what is true once it has returned. Everything throws what the system says; after
 * any throw the target is only closed.
 */
export interface Target {
  /**
   * Is the log still ours: the file under its name, all of it there, and nobody else's frames in it?
   * @throws if it was unlinked, replaced, cut short or written by another program
   */
  check(expected: LogState): void;

  /**
   * Nothing lies behind the log's end any more, durably.
   * @throws as `check`
   */
  cutBehind(end: LogState): void;

  /** Writes log bytes at `offset`. Not durable, not yet seen by readers. */
  write(bytes: Uint8Array, at: number, length: number, offset: number): void;

  /** All that was written is on stable storage, the log's name and length included. */
  sync(): void;

  /** Makes room behind the log's end, so that syncs to come have less to do. */
  growAhead(log: LogState): void;

  /**
   * Readers that begin from now on see all of the log. Whatever they saw up to now, it is found out.
   * @throws as `check`, if it turns out that the log does not hold this
   */
  show(log: LogEnd): void;

  /**
   * Gets ready to show the log up to `end`; nobody sees anything yet. What was last shown is its frame
   * `before`; the frames since then are of the first of these pages.
   */
  prepare(
    log: WalHeader,
    before: Sums & { readonly frame: number },
    pages: ArrayLike<number>,
    end: Commit,
  ): void;

  /**
   * Readers that begin from now on see the log up to `end`, for which it was prepared.
   * @throws as `show`
   */
  publish(log: WalHeader, end: Commit): void;

  /** All that is in the log now may be folded, and none of it be cut off before that. */
  hold(): void;

  /**
   * Folds the log into the file, durably, and waits for no one: false if readers are in the way.
   * After true no reader depends on the log, so its next generation may begin.
   * @throws as `check`, before and after
   */
  fold(expected: LogEnd): boolean;

  /** The file is on stable storage, with its times. */
  syncFile(): void;

  /**
   * Lets go of everything. With `rest` a folded log is removed; else nothing is changed.
   */
  close(rest: boolean): void;
}
