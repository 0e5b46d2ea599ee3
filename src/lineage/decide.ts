/**
 * The start: which copy contains the other, and what may be done about it. A pure function of what
 * was seen on both sides; the table of docs/architecture.md, one rule a row, first match wins.
 *
 * Only proofs count. "compare" asks for the last one, a comparison of all pages; whatever it does
 * not prove equal is refused.
 */
import { sameSalts, sameSums } from "../wal/format.ts";
import { type Copy, commitAt } from "./describe.ts";
import { type Position, samePosition } from "./position.ts";

/** How a replica stands to its primary. */
export type Relation =
  | "in-step"
  | "behind"
  | "ahead"
  | "diverged"
  | "stale-primary"
  | "missing"
  | "unknown"
  | "fenced"
  | "locked";

export type Action =
  /** Nothing to do. */
  | { readonly do: "nothing" }
  /** Neither side holds anything yet. */
  | { readonly do: "begin" }
  /** Full copy of the primary to the replica's path. */
  | { readonly do: "copy" }
  /** Send the frames of the primary's log after the replica's position. */
  | { readonly do: "send" }
  /** Write the pages that differ; the replica is proven older. */
  | { readonly do: "delta" }
  /** Append the replica's frames to the primary's log before anyone reads it. */
  | { readonly do: "roll-forward" }
  /** Equal page by page: adopt; else refuse with this relation. */
  | { readonly do: "compare"; readonly otherwise: "diverged" | "unknown" }
  /** The logs agree up to this frame. Equal images there: trust the logs; else refuse. */
  | { readonly do: "compare-at"; readonly frame: number }
  /** Stop with the error of this relation. */
  | { readonly do: "refuse" };

export interface Decision {
  readonly relation: Relation;
  readonly action: Action;
  /** Why, as a clause for messages. */
  readonly because: string;
}

export function decide(primary: Copy, replica: Copy): Decision {
  if (primary.file === "missing") {
    return replica.file === "missing"
      ? decision("missing", { do: "begin" }, "there is nothing on either side")
      : decision("stale-primary", { do: "refuse" }, "the primary is missing or empty");
  }
  if (replica.file === "missing") {
    return decision("missing", { do: "copy" }, "there is no replica yet");
  }
  const mine = primary.state?.databaseId ?? null;
  const theirs = replica.state?.databaseId ?? null;
  if (mine === null || theirs === null || mine !== theirs) {
    const why =
      theirs === null ? "it has no record of being a replica" : "it is of another database";
    return decision("unknown", { do: "compare", otherwise: "unknown" }, why);
  }
  if ((replica.state?.timeline ?? 0) > (primary.state?.timeline ?? 0)) {
    return decision("fenced", { do: "refuse" }, "the replica was promoted meanwhile");
  }
  const P = primary.position;
  const R = replica.position;
  if (P === null || R === null) {
    const [side, copy] = P === null ? ["primary", primary] : ["replica", replica];
    return unprovenPair(primary, replica, `the ${side}'s position is not proven: ${copy.because}`);
  }
  if (samePosition(P, R)) {
    // A replica without a log cannot be appended to in the middle of a generation.
    const action = primary.log && !replica.log ? "send" : "nothing";
    return decision("in-step", { do: action }, "their positions are equal");
  }
  if (sameSalts(P, R)) return sameGeneration(primary, replica, P, R);
  return otherGeneration(primary, replica, P, R);
}

// --- internal ---

function decision(relation: Relation, action: Action, because: string): Decision {
  return { relation, action, because };
}

/**
 * A file that was moved to another disk, or whose times a power cut took back, proves nothing by
 * itself. If the logs agree, it is enough that the images are equal where the shorter one ends.
 */
function unprovenPair(primary: Copy, replica: Copy, because: string): Decision {
  const frame = commonFrame(primary, replica);
  return frame === null
    ? decision("unknown", { do: "compare", otherwise: "diverged" }, because)
    : decision("unknown", { do: "compare-at", frame }, because);
}

/** Where the shorter of two logs of the recorded generation ends, if the longer one contains it. */
function commonFrame(primary: Copy, replica: Copy): number | null {
  const [a, b] = [primary, replica].map(({ log, state }) =>
    log && state?.generation && sameSalts(log.header, state.generation) ? log : null,
  );
  if (!a || !b || !sameSalts(a.header, b.header)) return null;
  const frame = Math.min(a.commits.at(-1)?.frame ?? 0, b.commits.at(-1)?.frame ?? 0);
  const [x, y] = [commitAt(primary, frame), commitAt(replica, frame)];
  return x && y && sameSums(x, y) ? frame : null;
}

function diverged(because: string): Decision {
  return decision("diverged", { do: "refuse" }, because);
}

/** It goes on where the primary ends. On an older timeline that is what a promotion has left behind. */
function ahead(primary: Copy, replica: Copy, because: string): Decision {
  if ((replica.state?.timeline ?? 0) < (primary.state?.timeline ?? 0)) {
    const left = "it holds commits that the primary was promoted without";
    return decision("stale-primary", { do: "refuse" }, left);
  }
  return decision("ahead", { do: "roll-forward" }, because);
}

/** Both stand in one generation: one log is a prefix of the other, or they have parted. */
function sameGeneration(primary: Copy, replica: Copy, P: Position, R: Position): Decision {
  if (P.frame === R.frame) return diverged("their logs have one length and different content");
  if (P.frame > R.frame) {
    if (isPrefix(R, primary)) {
      return decision("behind", { do: "send" }, "its log is a prefix of the primary's");
    }
    if (passedThrough(primary, R)) {
      return decision("behind", { do: "delta" }, "the primary's history holds its position");
    }
    return diverged("the primary's log does not contain the replica's");
  }
  if (isPrefix(P, replica)) {
    return ahead(primary, replica, "the primary's log is a prefix of its log");
  }
  if (passedThrough(replica, P)) {
    return decision("stale-primary", { do: "refuse" }, "its history holds the primary's position");
  }
  return diverged("the replica's log does not contain the primary's");
}

/** They stand in different generations: one must be in the other's past. */
function otherGeneration(primary: Copy, replica: Copy, P: Position, R: Position): Decision {
  if (primary.base && samePosition(primary.base, R)) {
    return decision("behind", { do: "send" }, "the primary's log begins at its position");
  }
  if (replica.base && samePosition(replica.base, P)) {
    return ahead(primary, replica, "its log begins at the primary's position");
  }
  if (passedThrough(primary, R)) {
    return decision("behind", { do: "delta" }, "the primary's history holds its position");
  }
  if (passedThrough(replica, P)) {
    return decision("stale-primary", { do: "refuse" }, "its history holds the primary's position");
  }
  return diverged("neither side's history holds the other's position");
}

/** Is `position` a commit in the log of `copy`, in the same generation? */
function isPrefix(position: Position, copy: Copy): boolean {
  const commit = commitAt(copy, position.frame);
  return (
    commit !== null &&
    copy.log !== null &&
    sameSalts(copy.log.header, position) &&
    sameSums(commit, position)
  );
}

function passedThrough(copy: Copy, position: Position): boolean {
  return (
    copy.history.some((p) => samePosition(p, position)) ||
    (copy.base !== null && samePosition(copy.base, position)) ||
    isPrefix(position, copy)
  );
}
