/** What went wrong with a stream, as an error of ours. What the places themselves know is one already. */
import { codes, LockstepError } from "../errors.ts";
import { InvariantError } from "../invariant.ts";

const STATE =
  "The primary holds every acknowledged transaction; the stream may lack the one that failed";

export function streamFailure(name: string, error: unknown): LockstepError {
  if (error instanceof LockstepError) return aboutTheStream(name, error);
  const cause = error as Error & { readonly file?: unknown };
  if (error instanceof InvariantError) {
    return new LockstepError(codes.WORKER_DIED, {
      copy: name,
      what: `The mirror stopped itself: ${cause.message}`,
      state: STATE,
      next: "This is a defect of Lockstep: report it with this message; then reopen",
      cause,
    });
  }
  if (typeof cause.file === "string") {
    return new LockstepError(codes.PRIMARY_IO, {
      copy: cause.file,
      what: `The primary could not be read: ${cause.message}`,
      state: "Neither copy was changed",
      next: "Check the primary's disk, then start again",
      cause,
    });
  }
  return new LockstepError(codes.REPLICA_IO, {
    copy: name,
    what: cause.message,
    state: STATE,
    next: "See whether its servers are up, or its disk is; then reopen",
    cause,
  });
}

/** An archive's errors name its files: the copy is the stream, and the file part of what happened. */
function aboutTheStream(name: string, error: LockstepError): LockstepError {
  const { code, copy, what, state, next, cause } = error;
  const isItsFile = copy !== null && name.startsWith("archive:") && isInside(copy, name);
  if (!isItsFile) return error;
  return new LockstepError(code, { copy: name, what: `${copy}: ${what}`, state, next, cause });
}

function isInside(file: string, archive: string): boolean {
  return file.startsWith(`${archive.slice("archive:".length)}/`);
}
