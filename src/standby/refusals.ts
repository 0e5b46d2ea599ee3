/** What a standby cannot do, and what settles it. */
import { type Code, codes, LockstepError } from "../errors.ts";

/** The stream does not hold what it takes. */
export function notThere(stream: string, why: string): LockstepError {
  return new LockstepError(codes.REPLICA_GONE, {
    copy: stream,
    what: `The stream does not hold what it takes: ${why}`,
    state: "Nothing was put in the place of anything",
    next: "Restore to another position, or wait for the primary's next snapshot: lockstep restore",
  });
}

export function refused(code: Code, copy: string, what: string, next: string): LockstepError {
  return new LockstepError(code, { copy, what, state: "Nothing was changed", next });
}

/** What is at DEST cannot go on from the stream; `--force` sets it aside. */
export function cannotFollow(
  code: Code,
  dest: string,
  stream: string,
  what: string,
): LockstepError {
  return refused(
    code,
    dest,
    what,
    `To make it anew (what stands there is set aside under a dated name): lockstep follow --force ${stream} ${dest}`,
  );
}
