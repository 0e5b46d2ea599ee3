/** Every warning, in words. */
import type { OpenTransaction, Warning } from "../warning.ts";
import type { Place } from "./file-system.ts";
import type { Held } from "./transactions.ts";

/** A warning, and what tells it from others. */
export type Keyed = readonly [key: string, warning: Warning];

export interface LogSize {
  readonly bytes: number;
  readonly limitBytes: number;
  /** Why the checkpoint that is due was put off, and how long ago, in milliseconds; null if it was not. */
  readonly postponed: { readonly because: string; readonly ms: number } | null;
}

export function ownTransaction(primary: string, open: OpenTransaction): Keyed {
  const { begunAt, statement, stack } = open;
  const where = stack?.split("\n")[0]?.trim();
  const by = statement === null ? "how it began was not seen" : `begun by ${statement}`;
  return warned(`transaction ${begunAt}`, {
    ...{ kind: "open-transaction", copy: primary, since: ago(performance.now() - begunAt), stack },
    what: `This process has a transaction open, ${by}${where ? ` ${where}` : ""}`,
    next: "Have the program end it: what it writes is on no copy before, and lost if the program ends",
  });
}

/** @param name of its process; "": it is this one */
export function heldTransaction(primary: string, held: Held, name: string): Keyed {
  const { key, pid, seenAt, mark } = held;
  const what =
    mark === null
      ? "has SQLite's write lock: nobody else can write"
      : `reads the log as it was at frame ${mark}: it is not folded further, and grows`;
  const who = name === "" ? `Process ${pid}, this one,` : capital(name);
  const next =
    name === ""
      ? "End it: an iterator that was not finished, or a connection without replicas"
      : "End its transaction, or the process";
  return warned(`transaction ${key}`, {
    ...{ kind: "open-transaction", copy: primary, since: ago(performance.now() - seenAt) },
    ...{ what: `${who} ${what}`, next, stack: null },
  });
}

export function largeLog(primary: string, log: LogSize, readers: readonly string[]): Keyed {
  const { bytes, limitBytes, postponed } = log;
  const why = postponed ? `; ${postponed.because}` : "";
  const who = readers.length > 0 ? `; it is read by ${readers.join(", ")}` : "";
  return warned("large log", {
    ...{ kind: "large-log", copy: primary, since: ago(postponed?.ms ?? 0), stack: null },
    what: `The log of ${primary} has ${size(bytes)}, ${size(limitBytes)} are its limit${why}${who}`,
    next: "It is folded once nobody reads an older state: end long transactions, of replicas' readers too",
  });
}

/** @param what of its servers, as `lockstep init` says it */
export function unsafeStream(stream: string, what: string): Keyed {
  return warned(`unsafe stream ${stream} ${what}`, {
    ...{ kind: "unsafe-stream", copy: stream, since: ago(0), stack: null },
    what: `What is acknowledged may be lost there, which was accepted: ${what}`,
    next: "Set up the servers as docs/nats.md says, and leave it out of allowUnsafe",
  });
}

/** @param why there is no process that looks for rot */
export function noScrub(primary: string, why: string): Keyed {
  return warned("no scrub", {
    ...{ kind: "no-scrub", copy: primary, since: ago(0), stack: null },
    what: `Nobody looks for rot just now: ${why}`,
    next: "It is begun anew by and by; see what ends it: too little memory, too few files or processes that may be open",
  });
}

export const lowSpaceKey = (copy: string): string => `low space ${copy}`;

/** @param limit in bytes; 0: none; null: a twentieth of the file system, 1 GiB at most */
export function aboutSpace(
  copy: string,
  place: Place,
  limit: number | null,
  isLow: boolean,
): Keyed[] {
  const { freeBytes, sizeBytes } = place;
  const least = limit ?? Math.min(1 << 30, sizeBytes / 20);
  if (freeBytes >= least * (isLow ? ENOUGH : 1)) return [];
  return [
    warned(lowSpaceKey(copy), {
      ...{ kind: "low-space", copy, since: ago(0), stack: null },
      what: `The disk of ${copy} is nearly full: ${size(freeBytes)} of ${size(sizeBytes)} are left`,
      next: "Make room: a copy that cannot grow ends replication, or is gone on without",
    }),
  ];
}

export function aboutPlace(copy: string, { remote, fleeting }: Place): Keyed[] {
  const found: Keyed[] = [];
  if (remote !== null) {
    found.push(
      warned(`remote ${copy}`, {
        ...{ kind: "remote-disk", copy, since: ago(0), stack: null },
        what: `${copy} is on a file system over a network or of a program (${remote}): whether what was synced is on stable storage is up to that`,
        next: "See that it is told to sync (NFS: exported with sync), or use a local disk",
      }),
    );
  }
  if (fleeting !== null) {
    found.push(
      warned(`fleeting ${copy}`, {
        ...{ kind: "no-disk", copy, since: ago(0), stack: null },
        what: `${copy} is ${fleeting}: it may not outlive the machine, or the container`,
        next: "Put it on a disk, or a volume",
      }),
    );
  }
  return found;
}

export function sameDisk(replica: string, primary: string): Keyed {
  return warned(`same disk ${replica}`, {
    ...{ kind: "same-disk", copy: replica, since: ago(0), stack: null },
    what: `${replica} is on the disk of ${primary}, and does not survive it`,
    next: "Put the replica on another disk",
  });
}

// --- internal ---

/** Room that is gained is room again when it is so much more than too little. */
const ENOUGH = 1.1;

function warned(key: string, warning: Warning): Keyed {
  return [key, warning];
}

function ago(ms: number): string {
  return new Date(Date.now() - ms).toISOString();
}

function size(bytes: number): string {
  return bytes < 10 << 20
    ? `${Math.round(bytes / 1024)} KiB`
    : `${Math.round(bytes / 2 ** 20)} MiB`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
