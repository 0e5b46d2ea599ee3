/**
 * Each code, and what the caller may conclude. docs/errors.md has a heading for every one (a test
 * keeps the two in step). Codes are stable; messages are not.
 */
export const codes = {
  // When options are read. Nothing was opened.
  /** The Node.js that runs is too old. */
  NODE_VERSION: "ERR_LOCKSTEP_NODE_VERSION",
  /** A `sqlite3://` name is malformed; the message names the position. */
  BAD_DSN: "ERR_LOCKSTEP_BAD_DSN",
  /** An option has a wrong type or value, or contradicts another. */
  BAD_OPTION: "ERR_LOCKSTEP_BAD_OPTION",

  // At the start. No content was replaced.
  /** Another process or thread replicates this primary, or into this replica. */
  LOCKED: "ERR_LOCKSTEP_LOCKED",
  /** A path holds something that is not a SQLite database. */
  NOT_A_DATABASE: "ERR_LOCKSTEP_NOT_A_DATABASE",
  /** The database to be followed is not in WAL mode. */
  NOT_WAL: "ERR_LOCKSTEP_NOT_WAL",
  /** The primary is missing or empty, the replica is not. */
  PRIMARY_MISSING: "ERR_LOCKSTEP_PRIMARY_MISSING",
  /** The primary is an older state of the replica. */
  PRIMARY_STALE: "ERR_LOCKSTEP_PRIMARY_STALE",
  /** Neither copy can be shown to contain the other. */
  DIVERGED: "ERR_LOCKSTEP_DIVERGED",
  /** The file at the replica's path is no replica of this primary. */
  REPLICA_UNKNOWN: "ERR_LOCKSTEP_REPLICA_UNKNOWN",
  /** The replica was promoted: this primary was replaced. */
  FENCED: "ERR_LOCKSTEP_FENCED",
  /** A stream is not set up so that it keeps what it acknowledges. */
  UNSAFE: "ERR_LOCKSTEP_UNSAFE",
  /** Something else reads or writes a copy and would not let go in time. */
  BUSY: "ERR_LOCKSTEP_BUSY",
  /** The file beside a copy that records its lineage cannot be read. */
  SIDECAR: "ERR_LOCKSTEP_SIDECAR",

  // At a write. The transaction may be on some copies and not on others; the connection is fenced.
  /** A replica did not confirm within `replicaTimeout`. */
  REPLICA_TIMEOUT: "ERR_LOCKSTEP_REPLICA_TIMEOUT",
  /** The replica's disk is full. */
  REPLICA_FULL: "ERR_LOCKSTEP_REPLICA_FULL",
  /** The replica's file, log or directory is gone or was replaced. */
  REPLICA_GONE: "ERR_LOCKSTEP_REPLICA_GONE",
  /** The operating system refused to write or sync the replica. */
  REPLICA_IO: "ERR_LOCKSTEP_REPLICA_IO",
  /** Another program wrote to the replica. */
  REPLICA_CHANGED: "ERR_LOCKSTEP_REPLICA_CHANGED",
  /** A thread of Lockstep's ended, hangs, or stopped itself because an invariant did not hold. */
  WORKER_DIED: "ERR_LOCKSTEP_WORKER_DIED",
  /** The operating system refused to read, write or sync the primary's file or log. */
  PRIMARY_IO: "ERR_LOCKSTEP_PRIMARY_IO",
  /** SQLite committed a transaction without checksums to the primary's log: a crash would lose it. */
  PRIMARY_UNSUMMED: "ERR_LOCKSTEP_PRIMARY_UNSUMMED",
  /** Whether a stream holds the transaction is not known yet; the next start finds out. */
  IN_DOUBT: "ERR_LOCKSTEP_IN_DOUBT",
  /** A stream ends before what it had acknowledged. */
  REWOUND: "ERR_LOCKSTEP_REWOUND",
  /** Another program restarted the primary's log: some of its transactions were not seen. */
  PRIMARY_CHANGED: "ERR_LOCKSTEP_PRIMARY_CHANGED",

  // When a replica is opened for reading. Nothing was changed.
  /** SQLite cannot read it from here. */
  UNREADABLE: "ERR_LOCKSTEP_UNREADABLE",

  // At durable() and reach(). Nothing has failed.
  /** The caller's deadline passed before every copy had synced, or a replica came so far. */
  DEADLINE: "ERR_LOCKSTEP_DEADLINE",

  // Of what listens for others (`observe`, `--listen`). Replication goes on as before.
  /** An address cannot be listened on, or what listens there is ending, or its database was closed. */
  ENDPOINT: "ERR_LOCKSTEP_ENDPOINT",

  // At a statement. Nothing was executed.
  /** The statement sets something that Lockstep owns, or would replace what is replicated. */
  OWNED: "ERR_LOCKSTEP_OWNED",

  // From the commands. Neither side was changed.
  /** The destination exists and `--force` was not given. */
  DEST_EXISTS: "ERR_LOCKSTEP_DEST_EXISTS",
  /** There is not enough room for a restored copy. */
  NO_ROOM: "ERR_LOCKSTEP_NO_ROOM",
  /** What was read is damaged, or what was written did not read back equal. */
  VERIFY: "ERR_LOCKSTEP_VERIFY",
} as const;

export type Code = (typeof codes)[keyof typeof codes];

export interface ErrorParts {
  /** The path of the copy concerned, or null if it concerns none. */
  readonly copy: string | null;
  /** What happened: one sentence, no full stop. */
  readonly what: string;
  /** What state the data is in: one sentence, no full stop. */
  readonly state: string;
  /** What to run or do next: one sentence, no full stop. */
  readonly next: string;
  /** The lower layer's error. */
  readonly cause?: unknown;
}

/** Every error of Lockstep's own. The driver's errors pass through as they are. */
export class LockstepError extends Error {
  readonly code: Code;
  /** The path of the copy concerned, or null. */
  readonly copy: string | null;
  /** What happened. */
  readonly what: string;
  /** What state the data is in. */
  readonly state: string;
  /** What to run or do next. */
  readonly next: string;

  constructor(code: Code, parts: ErrorParts) {
    super(
      `${parts.copy === null ? "" : `${parts.copy}: `}${parts.what}. ${parts.state}. ${parts.next}.`,
      parts.cause === undefined ? undefined : { cause: parts.cause },
    );
    this.code = code;
    this.copy = parts.copy;
    this.what = parts.what;
    this.state = parts.state;
    this.next = parts.next;
  }

  override get name(): string {
    return "LockstepError";
  }
}

/**
 * For work in the background, which nobody waits for: what Lockstep, the system or SQLite says passes, for the next
 * commit finds it, if it lasts. Anything else is a defect of ours, and stops the process.
 */
export function throwOurs(error: unknown): void {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (!(error instanceof LockstepError) && code === undefined && errcode === undefined) throw error;
}

/** An error as it crosses from a worker thread: plain data. */
export interface ErrorData {
  readonly code: Code;
  readonly copy: string | null;
  readonly what: string;
  readonly state: string;
  readonly next: string;
  readonly cause: { readonly message: string; readonly code: string | null } | null;
}

export function toErrorData(error: LockstepError): ErrorData {
  const cause = error.cause as (Error & { code?: unknown }) | undefined;
  return {
    code: error.code,
    copy: error.copy,
    what: error.what,
    state: error.state,
    next: error.next,
    cause: cause
      ? { message: cause.message, code: typeof cause.code === "string" ? cause.code : null }
      : null,
  };
}

export function fromErrorData(data: ErrorData): LockstepError {
  const { code, cause, ...parts } = data;
  return new LockstepError(code, {
    ...parts,
    ...(cause ? { cause: Object.assign(new Error(cause.message), { code: cause.code }) } : {}),
  });
}
