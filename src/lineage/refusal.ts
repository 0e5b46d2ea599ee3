/**
 * The errors of a start, or a command, that is refused: which code, what was found, what settles it.
 */
import { isStream } from "../address.ts";
import { codes, LockstepError } from "../errors.ts";
import type { Decision } from "./decide.ts";
import type { Copy } from "./describe.ts";
import { formatPosition } from "./position.ts";

export function refusal(
  primary: Copy,
  replica: Copy,
  { relation, because }: Decision,
): LockstepError {
  const pair = `${primary.path} ${replica.path}`;
  const both = `Primary ${describe(primary)}; replica ${replica.path} ${describe(replica)}`;
  const untouched = `Neither copy was changed. ${both}`;
  if (primary.file === "missing") {
    return new LockstepError(codes.PRIMARY_MISSING, {
      copy: primary.path,
      what: `The primary is missing or empty, but its replica ${replica.path} is not`,
      state: untouched,
      next: `To go on from the replica: lockstep restore ${replica.path} ${primary.path} (or open with restoreMissing: true)`,
    });
  }
  switch (relation) {
    case "stale-primary":
      return new LockstepError(codes.PRIMARY_STALE, {
        copy: primary.path,
        what: `The primary is an older state of its replica ${replica.path}: ${because}`,
        state: untouched,
        next: `To go on from the replica: lockstep sync ${pair} --from replica. To go back to the older state for good: lockstep sync ${pair} --from primary`,
      });
    case "fenced": {
      const isStandby = primary.state?.role === "replica" && isStream(replica.path);
      const bringOn = `If another copy is the primary now, use that. Else a promotion of this standby was cut off; bring it on, then open it again: lockstep follow --once ${replica.path} ${primary.path}`;
      return new LockstepError(codes.FENCED, {
        copy: primary.path,
        what: `Its replica ${replica.path} was promoted: another primary took its place`,
        state: untouched,
        next: isStandby
          ? bringOn
          : "Use the primary that was restored from the replica; this one is its past",
      });
    }
    case "unknown":
      return new LockstepError(codes.REPLICA_UNKNOWN, {
        copy: replica.path,
        what: `This file is not a replica of ${primary.path}: ${because}`,
        state: untouched,
        next: `Name another path, or move it away; to overwrite it (it is set aside): lockstep sync ${pair} --from primary`,
      });
    default:
      return new LockstepError(codes.DIVERGED, {
        copy: replica.path,
        what: `Neither copy can be shown to contain the other: ${because}`,
        state: untouched,
        next: `Compare them: lockstep verify ${pair}. Then choose: lockstep sync ${pair} --from primary, or --from replica; the other is set aside`,
      });
  }
}

/** One of the copies that a command was given is not there. */
export function missingCopy(copy: string): LockstepError {
  return nothingThere(copy, "Check the path; a replica that is missing is made by: lockstep sync");
}

/** Where a database should be there is nothing. */
export function nothingThere(copy: string, next: string): LockstepError {
  return new LockstepError(codes.NOT_A_DATABASE, {
    copy,
    what: "There is no database",
    state: "Nothing was changed",
    next,
  });
}

/** The primary is missing, and it is not sure that one of the replicas that are there has all. */
export function notEnough(primary: Copy, replica: Copy, why: string): LockstepError {
  return new LockstepError(codes.PRIMARY_MISSING, {
    copy: primary.path,
    what: `The primary is missing or empty and is not restored by itself: ${why}`,
    state: `Neither copy was changed. Replica ${replica.path} ${describe(replica)}`,
    next: `Bring the other replicas back, then open again. To go on from what is there, whatever it lacks: lockstep restore ${replica.path} ${primary.path}`,
  });
}

function describe(copy: Copy): string {
  if (copy.file === "missing") return "is missing or empty";
  if (!copy.position) return `has no proven position (${copy.because})`;
  return `is at ${formatPosition(copy.position)}`;
}
