/**
 * Where a stream lives: an ordered log of messages, and objects beside it. What the messages say is
 * told in segment.ts, who writes what and when in writer.ts. Here is only what a place must be able to do, and what is true
 * once a method has returned. Everything may wait for the network; nothing waits without a signal.
 */
import type { LockstepError } from "../errors.ts";

/** A message in its place. */
export interface Entry {
  /** Its number, from 1, without a gap. */
  readonly sequence: number;
  readonly bytes: Uint8Array;
  /** When the place took it, by the clock there. */
  readonly time: Date;
}

/** Where a log begins and ends. `last` is 0 before the first message; `first` is `last + 1` if none is left. */
export interface Ends {
  readonly first: number;
  readonly last: number;
}

export interface StreamLog {
  /** What it is called in messages: without a secret. */
  readonly name: string;
  /** The largest message that it takes, in bytes. */
  readonly maxBytes: number;

  /**
   * As those see it who decide what is in the log: never older than what an `append` of this object has
   * returned.
   * @throws LockstepError REWOUND if it ends before that
   */
  ends(): Promise<Ends>;

  /** The message in this place; null proves nothing but that it was not found. */
  at(sequence: number): Promise<Entry | null>;

  /**
   * The messages from `first` on, in order and without a gap. With `to` it ends after that one, which is
   * there; with `live` it goes on with what comes, until the signal.
   * @throws LockstepError REPLICA_GONE if a message was removed; REPLICA_CHANGED if one is missing
   */
  read(
    first: number,
    until: { readonly to: number } | { readonly live: AbortSignal },
  ): AsyncIterable<Entry>;

  /**
   * Puts a message into the place after `after`, durably, if nothing stands there: once it has resolved with
   * null the message is there and survives what the place survives. Else it resolves with what stands
   * there, and then this message is not in the log and never will be: its place is taken. Whatever
   * goes wrong on the way, it is sent again, the same bytes for the same place, until that is known.
   * @throws LockstepError IN_DOUBT if the signal came first and it may be in the log, or come into it;
   *   REWOUND if the log ends before `after`; REPLICA_FULL, REPLICA_GONE, REPLICA_IO if it was refused
   */
  append(bytes: Uint8Array, after: number, signal: AbortSignal): Promise<Entry | null>;

  /** Puts a message at the log's end, durably, wherever that is by then. Resolves with its number. */
  force(bytes: Uint8Array, signal: AbortSignal): Promise<number>;

  /** Removes the messages before this one. Numbers do not change. */
  purge(before: number): Promise<void>;

  /** Keeps an object, durably: under its name it is whole, or not there. Names are written once. */
  put(name: string, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;

  /** An object's bytes, verified as they were kept. @throws LockstepError REPLICA_GONE, VERIFY */
  get(name: string): AsyncIterable<Uint8Array>;

  /** The names of all objects that are whole. */
  objects(): Promise<readonly string[]>;

  /** Removes an object; it may be gone already. */
  remove(name: string): Promise<void>;

  /**
   * Removes what is left of messages and objects whose writers died: nobody sees it, and it takes room.
   * @param before only that to which nothing was added since, by the clock there: somebody may be writing it
   * @returns how many there were
   */
  sweep(before: Date): Promise<number>;

  /** Called when the place is no longer what it was, while nobody waits for it. */
  onLoss: (why: LockstepError) => void;

  close(): Promise<void>;
}
