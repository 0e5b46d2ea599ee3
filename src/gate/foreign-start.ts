/**
 * The start at a primary that other programs write meanwhile, as they did while nobody looked. They are kept out
 * for moments only: what reads whole files is left to the way back of a replica (rejoin.ts), and content
 * that no record knows gets a position where it stands, without a checkpoint that would have to wait.
 */
import { randomUUID } from "node:crypto";
import { decide } from "../lineage/decide.ts";
import type { Copy } from "../lineage/describe.ts";
import { busy } from "../lineage/fold.ts";
import { keeperOf } from "../lineage/keeper.ts";
import { originPosition, type Position } from "../lineage/position.ts";
import type { Replication } from "../options.ts";
import { sameSalts } from "../wal/format.ts";
import type { Deputy } from "./deputy.ts";
import { recordForeignFold } from "./fold-whole.ts";
import { installLogs, recordLog, renewLog } from "./logs.ts";
import { membershipOf } from "./membership.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

/** What was found out about a primary that others write, before it is opened. */
export interface Foreign {
  /** Where its replicas stand, as far as that lies in its past; null: its past is not what its record says. */
  readonly past: readonly Position[] | null;
  readonly deputy: Deputy;
}

/** With `foreign`: other programs write the primary, none through this process. See replicate.ts. */
export type HubOptions = Replication & { readonly foreign?: Foreign };

/** @throws LockstepError BUSY if a copy has changed since it was found that this start is quick */
export function assertQuick(primary: Copy, mirrors: readonly Mirror[]): void {
  for (const { copy } of mirrors) {
    const { action } = decide(primary, copy as Copy);
    if (!["nothing", "send", "roll-forward"].includes(action.do)) throw busy(primary.path);
  }
}

/**
 * From here on nothing that others write is lost: the log cannot restart, and whatever they fold is on record.
 * The primary stands still only until that is so.
 * @param seen what it was a moment ago; others have gone on since
 * @throws LockstepError BUSY if its log has begun anew since
 */
export function prepareAmongWriters(
  primary: Primary,
  seen: Copy,
  mirrors: readonly Mirror[],
): void {
  primary.standStill();
  let copy = seen;
  try {
    copy = asItIsNow(primary, seen);
    const work = mirrors.map((mirror) => {
      return { mirror, action: decide(copy, mirror.copy as Copy).action };
    });
    recordLog(primary, copy);
    primary.position = copy.position as Position;
    primary.sidecar.beginFold(); // durable: others may fold at any moment
    holdAmongWriters(primary);
    installLogs(copy, work, membershipOf(primary, copy));
  } finally {
    primary.release();
  }
  // What is not in the file yet stays in the log, which may be written over with itself.
  if (!primary.mayRestart) renewLog(primary, copy);
}

/** Holds the log; or, if all of it is in the file, puts that on record first, and lets it restart. */
function holdAmongWriters(primary: Primary): void {
  do {
    recordForeignFold(primary);
    if (primary.foldedHere()) {
      primary.hold();
      return;
    }
    primary.holdAtEnd();
  } while (primary.mayRestart); // others have folded the rest just now
}

/** The log as it was seen, and what was committed to it since; without reading it. */
function asItIsNow(primary: Primary, seen: Copy): Copy {
  const { log, position } = seen;
  if (primary.sees(seen)) return seen;
  const { salt1, salt2, frames: frame, sum1, sum2 } = primary.readIndex();
  const isLonger =
    log && position && sameSalts(primary.index, log.header) && frame > position.frame;
  if (!isLonger) throw busy(primary.path);
  return {
    ...seen,
    position: { timeline: position.timeline, salt1, salt2, frame, sum1, sum2 },
    log: { header: log.header, commits: [...log.commits, { frame, pages: 0, sum1, sum2 }] },
  };
}

/**
 * The primary's content, which other programs wrote while nobody looked, gets a position: its log names it, or
 * without one a name is made up. It goes on in the lineage on record, if that is its past.
 */
export function nameAsFound(primary: Primary, past: readonly Position[] | null): void {
  const { sidecar } = primary;
  const { databaseId, timeline } = sidecar.state;
  primary.standStill();
  try {
    const { frames, salt1, salt2 } = primary.readIndex();
    keeperOf(sidecar).drop(); // what others folded is in no sums
    sidecar.update(
      {
        databaseId: (past && databaseId) ?? randomUUID(),
        generation: frames > 0 ? { salt1, salt2, base: null } : null,
        folded: null,
        folding: true,
      },
      {
        history: sidecar.lacking(past ?? []),
        forget: past === null,
        event: ["named", "as other programs left it"],
      },
    );
    if (frames === 0) primary.recordFolded(originPosition(timeline));
  } finally {
    primary.release();
  }
}
