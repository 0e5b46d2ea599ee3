/** What the servers and their client say when something went wrong, and what it proves. */
import { codes, LockstepError } from "../errors.ts";

/** Numbers of the servers' errors; their texts change, these do not. */
const api = {
  ACCOUNT_LIMIT: 10002,
  TEMPORARILY_UNAVAILABLE: 10008,
  NO_RESOURCES: 10023,
  MEMORY_LIMIT: 10028,
  STORAGE_LIMIT: 10047,
  MESSAGE_TOO_LARGE: 10054,
  NAME_IN_USE: 10058,
  STREAM_NOT_FOUND: 10059,
  OTHER_STREAM: 10060,
  WRONG_LAST_SEQUENCE: 10071,
  STORE_FAILED: 10077,
  ID_IN_PROCESS: 10158,
  WRONG_LAST_SEQUENCE_UNKNOWN: 10164,
} as const;

const FULL: readonly number[] = [
  ...[api.ACCOUNT_LIMIT, api.NO_RESOURCES, api.MEMORY_LIMIT, api.STORAGE_LIMIT],
];

/** What a publish that failed means for the message. */
export type Outcome =
  /** It may be in the stream, or come into it. */
  | { readonly kind: "unknown" }
  /** Something stands in its place, or the stream ends before; `last` is where it ends, if it was said. */
  | { readonly kind: "taken"; readonly last: number | null }
  /** This attempt did not and will not put it there. */
  | { readonly kind: "refused"; readonly error: LockstepError };

/** @param shown what the stream is called in messages */
export function outcomeOf(error: unknown, shown: string): Outcome {
  const number = apiNumber(error);
  const said = messageOf(error);
  if (number === api.WRONG_LAST_SEQUENCE || number === api.WRONG_LAST_SEQUENCE_UNKNOWN) {
    const [, last] = /:\s*(\d+)\s*$/.exec(said) ?? [];
    return { kind: "taken", last: last === undefined ? null : Number(last) };
  }
  // A full stream and a store that is just being closed have the same number.
  const full = number === api.STORE_FAILED && /maximum|exceeded/i.test(said);
  if (full || (number !== null && FULL.includes(number))) {
    return {
      kind: "refused",
      error: failure(codes.REPLICA_FULL, shown, "The stream is full", error),
    };
  }
  if (number === api.OTHER_STREAM) {
    const what = "Another stream takes the messages of this one";
    return { kind: "refused", error: failure(codes.REPLICA_GONE, shown, what, error) };
  }
  if (isTransient(error)) return { kind: "unknown" };
  return { kind: "refused", error: refusal(error, shown) };
}

/** Says nothing about what was asked: ask again. */
export function isTransient(error: unknown): boolean {
  if (error instanceof LockstepError) return error.code === codes.REPLICA_TIMEOUT;
  if (isDenied(error)) return false;
  const number = apiNumber(error);
  if (isNamed(error, STATUS_ERROR)) return [408, 503].includes(statusOf(error) ?? 0);
  if (number === null) return NO_ANSWER.some((name) => isNamed(error, name));
  if (number === api.ID_IN_PROCESS || number === api.STORE_FAILED) return true;
  return statusOf(error) === 503 && !FULL.includes(number);
}

export function isNoStream(error: unknown): boolean {
  return apiNumber(error) === api.STREAM_NOT_FOUND;
}

/** There is one of that name, and it is set up otherwise. */
export function isNameInUse(error: unknown): boolean {
  return apiNumber(error) === api.NAME_IN_USE;
}

/** The servers do not let this user in, or not do this. */
export function isDenied(error: unknown): boolean {
  return ["AuthorizationError", "UserAuthenticationExpiredError", "PermissionViolationError"].some(
    (name) => isNamed(error, name),
  );
}

/** Nobody takes what was asked. */
export function isNobody(error: unknown): boolean {
  return isNamed(error, "NoResponders");
}

/** The connection was closed for good. */
export function isClosed(error: unknown): boolean {
  return isNamed(error, "ClosedConnectionError");
}

/** An error that is no answer to what was asked, as one of ours. */
export function refusal(error: unknown, shown: string): LockstepError {
  if (error instanceof LockstepError) return error;
  if (isNamed(error, "PermissionViolationError")) {
    return failure(codes.REPLICA_IO, shown, "The servers do not let this user do that", error);
  }
  if (isDenied(error)) return shutOut(shown, error);
  return failure(codes.REPLICA_IO, shown, `The servers refused: ${messageOf(error)}`, error);
}

/** The servers do not let this user in, or not any more. */
export function shutOut(shown: string, cause?: unknown): LockstepError {
  return failure(codes.REPLICA_IO, shown, "The servers do not let this user in", cause);
}

export function failure(
  code: (typeof codes)["REPLICA_FULL" | "REPLICA_GONE" | "REPLICA_IO" | "REPLICA_CHANGED"],
  shown: string,
  what: string,
  cause?: unknown,
): LockstepError {
  const next = {
    [codes.REPLICA_FULL]: "Give the stream more room or keep less of it, then reopen",
    [codes.REPLICA_GONE]: "See what became of it; lockstep init makes a new one",
    [codes.REPLICA_IO]: "See what the servers say, and what this user may do there",
    [codes.REPLICA_CHANGED]: "See who else may write there",
  }[code];
  return new LockstepError(code, {
    ...{ copy: shown, what, state: "Nothing was written by this", next },
    ...(cause === undefined ? {} : { cause }),
  });
}

export function noAnswer(shown: string, what: string, cause?: unknown): LockstepError {
  const why = cause instanceof LockstepError || !cause ? "" : ` (${messageOf(deepest(cause))})`;
  return new LockstepError(codes.REPLICA_TIMEOUT, {
    copy: shown,
    what: `${what}, and there was no answer in time${why}`,
    state: "Nothing was written by this",
    next: "See whether a majority of the servers runs and can be reached, then try again",
    cause,
  });
}

export function inDoubt(shown: string, cause?: unknown): LockstepError {
  return new LockstepError(codes.IN_DOUBT, {
    copy: shown,
    what: "The stream did not answer in time",
    state: "The last message may be in it, or come into it yet",
    next: "Reopen: the start finds out before anything else is written",
    cause,
  });
}

export function rewound(shown: string, what: string): LockstepError {
  return new LockstepError(codes.REWOUND, {
    copy: shown,
    what,
    state: "Nothing is written to it any more; the other copies hold what it acknowledged",
    next: "See what happened to the servers; lockstep init makes a new stream",
  });
}

export function noStream(shown: string, cause?: unknown): LockstepError {
  return failure(codes.REPLICA_GONE, shown, "There is no such stream", cause);
}

// --- internal ---

/** The client's names for what happens when no answer comes, or nobody is there to give one. */
const NO_ANSWER = [
  ...["TimeoutError", "NoResponders", "JetStreamNotEnabled", "RequestError"],
  ...["ConnectionError", "ClosedConnectionError", "DrainingConnectionError"],
  "ProtocolError",
];

/** An error or what caused it. The client's classes are not at hand where it is not loaded. */
function isNamed(error: unknown, name: string): boolean {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each.name === name) return true;
  }
  return false;
}

/** How the client names an answer that is only a status: its code is none of the servers' numbers. */
const STATUS_ERROR = "JetStreamStatusError";

function apiNumber(error: unknown): number | null {
  for (let each = error; each instanceof Error; each = each.cause) {
    const { name, code } = each as Error & { code?: unknown };
    if (name !== STATUS_ERROR && typeof code === "number") return code;
  }
  return null;
}

function statusOf(error: unknown): number | null {
  const { status, code } = error as { status?: unknown; code?: unknown };
  const found = status ?? code;
  return typeof found === "number" ? found : null;
}

/** What was at the root of it: "connect ECONNREFUSED …", not "connection refused". */
function deepest(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? deepest(error.cause) : error;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
