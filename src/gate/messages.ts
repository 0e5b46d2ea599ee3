/**
 * Every message between the committing thread and its workers, by direction: the mirrors' first, then
 * the backfiller's. Frames travel
 * through the ring (ring.ts), but for a stream that nobody waits for; who waits for what is in slots.ts.
 *
 * The committing thread posts a command, then counts WORK up. A worker posts a report, then counts
 * BELL up. Reports come in the order in which they were posted.
 */

import type { MessagePort } from "node:worker_threads";
import type { DriverName } from "../driver.ts";
import type { ErrorData } from "../errors.ts";
import type { Copy } from "../lineage/describe.ts";
import type { Fingerprint } from "../lineage/fingerprint.ts";
import type { Ahead } from "../lineage/keeper.ts";
import type { LeftAt, Position } from "../lineage/position.ts";
import type { SumsRecord } from "../lineage/sums.ts";
import type { Progress } from "../options.ts";
import type { FramesRecord } from "./ring.ts";
import type { SharedMemory } from "./slots.ts";

/** The payload of a stream's message at most: larger ones are no faster, and take longer to be sent again. */
export const PIECE_BYTES = 512 << 10;

/** What a worker is started with. */
export interface WorkerData {
  readonly replica: number;
  /** Of a file; of a stream what it is called in messages. */
  readonly path: string;
  /** Where it is: of a file the same; of a stream with what nobody should read. */
  readonly address: string;
  /** The last message that a stream has acknowledged, as far as that is on record; 0: none. */
  readonly known: number;
  /** The primary's path. */
  readonly primary: string;
  readonly driver: DriverName;
  /** Will whole files have to be read, as far as can be seen? Then that takes no time to begin. */
  readonly expectsBulk: boolean;
  readonly memory: SharedMemory;
  readonly port: MessagePort;
}

/** What the replica becomes part of. */
export interface Membership {
  readonly databaseId: string;
  readonly timeline: number;
  /** The primary's position; it stands still there, or at least its file does. */
  readonly position: Position;
  /** The content under the first frame of the primary's log. */
  readonly base: Position | null;
  /** The primary's path. */
  readonly primary: string;
  /** If commits go on meanwhile: what its file, which holds `position`, is and must stay. */
  readonly file: Fingerprint | null;
  /** What the primary's content has passed through: the replica may become a primary itself. */
  readonly history: readonly Position[];
}

/** What comes from the primary: with its sums; or it has none: made for the replica, or for both. */
export type CopySums = "take" | "make" | "both";

export type Command =
  /** Look again. Answered by `described`. */
  | { readonly type: "describe" }
  /** Start, step 2: make the replica, or bring it up to date. Answered by `ready`. */
  | { readonly type: "copy"; readonly membership: Membership; readonly sums: CopySums }
  | { readonly type: "delta"; readonly membership: Membership; readonly sums: CopySums }
  /** How many pages differ, at a frame of both logs or (null) at their ends? `compared`. */
  | { readonly type: "compare"; readonly primary: string; readonly frame: number | null }
  /** That was equal: trust the log although the file's fingerprint differs. `described`. */
  | { readonly type: "trust-log" }
  /** After `compared` said equal: take it as the replica. Answered by `ready`. */
  | { readonly type: "adopt"; readonly membership: Membership }
  /** Put the primary's log beside a replica that has none. Answered by `ready`. */
  | { readonly type: "install-log"; readonly membership: Membership }
  /** Make a log file at `to` of the generation that a stream ends in, whole and durable. Answered by `ready`. */
  | { readonly type: "export-log"; readonly to: string }
  /** Make a whole, durable copy of the replica at `to`, to be called `primary`. Answered by `ready`. */
  | { readonly type: "export"; readonly to: string; readonly primary: string }
  /**
   * Step 3: open the replica, to append to it. Answered by `attached`. With `seen`: only if it is
   * still as it was seen before it was locked.
   */
  | { readonly type: "attach"; readonly timeline: number; readonly seen: Copy | null }
  /** To catch up: append frames from the primary's log, `to` included. Answered by `followed`. */
  | { readonly type: "follow"; readonly log: string; readonly to: Position }
  /** Frames that continue those before, PIECE_BYTES at most: send them. Answered by `followed`. */
  | {
      readonly type: "frames";
      readonly record: FramesRecord;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  /** Mirror what comes through the ring, from there on. */
  | { readonly type: "join"; readonly tail: number }
  /** Keep a new image of the primary, and go on sending meanwhile. `image-made`, whatever came of it. */
  | { readonly type: "image"; readonly membership: Membership }
  /** Put on record that the content has passed through these: another replica was left there. */
  | { readonly type: "passed"; readonly history: readonly Position[] }
  /** Put on record where asynchronous streams may be: keep these commits (left-at.ts), or null: drop what was kept. */
  | { readonly type: "left"; readonly at: LeftAt; readonly keep: readonly Position[] | null }
  /** Put on record that the file is about to be written by the backfiller. Answered by `may-fold`. */
  | { readonly type: "begin-fold" }
  /** Fold the log into the file, if readers allow; what the backfiller has summed. `folded`. */
  | { readonly type: "fold"; readonly ahead: Ahead | undefined; readonly left: LeftAt }
  /**
   * Let go of the replica and end; `fold`: with everything in its file, if readers allow, else as
   * after a crash. Answered by `closed`.
   */
  | { readonly type: "close"; readonly event: string; readonly fold: boolean };

/** Of a stream each report says which message was the last that it is known to hold. */
export type Report = ReportOfAny & { readonly last?: number };

type ReportOfAny =
  /**
   * What was found; start, step 1, unasked. Of a stream: how many messages it has since its last image, and what
   * cannot keep all that it acknowledges and was accepted.
   */
  | {
      readonly type: "described";
      readonly copy: Copy;
      readonly messages?: number;
      readonly accepted?: readonly string[];
    }
  /** Still at it: of work that tells no progress. */
  | { readonly type: "alive" }
  | { readonly type: "progress"; readonly progress: Progress }
  | { readonly type: "compared"; readonly differing: number; readonly pages: number }
  /** With the sums that were made, if any were wanted. */
  | { readonly type: "ready"; readonly sums: SumsRecord | null }
  /** `copyId`: what its record calls it; null if it has none. */
  | { readonly type: "attached"; readonly position: Position; readonly copyId: string | null }
  | { readonly type: "followed" }
  | { readonly type: "image-made" }
  | { readonly type: "may-fold" }
  | { readonly type: "folded"; readonly done: boolean; readonly because: string }
  /** Nothing more is written to this replica. STATE becomes FAILED after it. */
  | { readonly type: "failed"; readonly error: ErrorData }
  | { readonly type: "closed" };

/** What the backfiller is started with. */
export interface BackfillerData {
  /** The path. */
  readonly primary: string;
  readonly turn: Int32Array<SharedArrayBuffer>;
  readonly driver: DriverName;
  readonly memory: SharedMemory;
  readonly port: MessagePort;
}

export type BackfillCommand =
  /** Fold as much of these logs as readers allow. Answered by `backfilled` or `backfill-failed`. */
  { readonly type: "backfill"; readonly copies: readonly string[] } | { readonly type: "end" };

export type BackfillReport =
  /**
   * So many frames are in every file, synced; what was written into their sums; and the descriptors
   * that it has of the files.
   */
  | {
      readonly type: "backfilled";
      readonly frames: number;
      /** By copy, in the order of the command; undefined: nothing was written. */
      readonly ahead: readonly (Ahead | undefined)[];
      readonly files: readonly (readonly [path: string, descriptor: number])[];
    }
  | { readonly type: "backfill-failed"; readonly error: ErrorData };
