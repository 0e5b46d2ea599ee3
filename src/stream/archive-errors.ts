/** What an archive's files and its disk have to say, as errors of ours. */
import { codes, LockstepError } from "../errors.ts";

/** The archive, or a message that is wanted of it, is not there any more. */
export function gone(copy: string, what: string): LockstepError {
  return new LockstepError(codes.REPLICA_GONE, {
    copy,
    what: `In the archive: ${what}`,
    state: "What stands there was not changed",
    next: "Bring its disk or directory back. A new one: lockstep init",
  });
}

/** A message between others is not there, or one that should be the last. */
export function missingHere(file: string): LockstepError {
  return new LockstepError(codes.REPLICA_CHANGED, {
    copy: file,
    what: "A message of the archive is missing: its file is not there",
    state: "What stands before it can be used",
    next: "Bring the file back; else restore to a position before it",
  });
}

export function tornFile(file: string): LockstepError {
  return new LockstepError(codes.REPLICA_CHANGED, {
    copy: file,
    what: "This file is none of the archive's, or is not as it was written",
    state: "It was not used, nor changed",
    next: "Bring back the file as it was; if something else writes there, give it another place",
  });
}

export function rewound(copy: string, last: number, known: number): LockstepError {
  return new LockstepError(codes.REWOUND, {
    copy,
    what: `It ends at message ${last}, and message ${known} was acknowledged there`,
    state: "Nothing was written to it",
    next: "An older copy of it was put in its place: bring back the newer one, or begin a new archive: lockstep init",
  });
}

/** It may be there, or not. */
export function unsure(copy: string, sequence: number, cause: unknown): LockstepError {
  return new LockstepError(codes.IN_DOUBT, {
    copy,
    what: `Whether message ${sequence} is in the archive is not known`,
    state: "It is there whole, or not at all",
    next: "Read that place again: what stands there decides",
    cause,
  });
}

/** It is not there: the system refused to write it. */
export function unwritten(copy: string, cause: unknown): LockstepError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const isFull = code === "ENOSPC" || code === "EDQUOT";
  return new LockstepError(isFull ? codes.REPLICA_FULL : codes.REPLICA_IO, {
    copy,
    what: isFull ? "The archive's disk is full" : `The archive cannot be written: ${message}`,
    state: "The message is not in it; all that was acknowledged is",
    next: isFull ? "Make room there" : "Set right what the system complains of",
    cause,
  });
}
