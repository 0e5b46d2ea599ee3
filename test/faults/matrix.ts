/**
 * Which call fails how, and what an application may then be told.
 *
 * A call is named by its kind, its file and its turn among those of one kind on one file: threads do
 * not mix these up.
 */
import type { Call, Errno, Faults, Kind, Rule } from "./shim.ts";

/** One call of a phase. */
export interface Point {
  readonly kind: Kind;
  /** Below the root; with a `*` for a date. */
  readonly path: string;
  /** From 1. */
  readonly nth: number;
}

export interface Fault {
  readonly name: string;
  readonly kinds: readonly Kind[];
  readonly rules: (point: Point) => readonly Rule[];
  /** The codes that may come out when it is the replica's call, and when it is the primary's. */
  readonly replica: RegExp;
  readonly primary: RegExp;
  /** How long commands wait for the replica, in milliseconds. */
  readonly timeout?: number;
  /** Does the process die of it? */
  readonly kills?: boolean;
}

const CHANGES: readonly Kind[] = ["write", "truncate", "rename", "unlink", "sync", "utimens"];
/**
 * To give a lock up never fails here: on a local disk it cannot, and what SQLite could not give up it takes for
 * held until the process ends, so that commands that need it end in their deadlines.
 */
const ALL: readonly Kind[] = [...CHANGES, "open", "read", "lock", "unlock"];

export const NONE = /^$/;
/** Of the primary SQLite tells the application itself, with its own error. */
const PRIMARY = /^ERR_LOCKSTEP_(PRIMARY_IO|SIDECAR)$|SQLITE/;
const REPLICA: Record<string, RegExp> = {
  // What SQLite could not read of a record it may call malformed.
  EIO: /^ERR_LOCKSTEP_(REPLICA_IO|SIDECAR)$/,
  EROFS: /^ERR_LOCKSTEP_REPLICA_IO$/,
  // SQLite says of a full disk what it was doing, and not always that the disk is full.
  ENOSPC: /^ERR_LOCKSTEP_REPLICA_(FULL|IO)$/,
  EDQUOT: /^ERR_LOCKSTEP_REPLICA_(FULL|IO)$/,
  ESTALE: /^ERR_LOCKSTEP_(REPLICA_(GONE|IO)|SIDECAR)$/,
  ENODEV: /^ERR_LOCKSTEP_(REPLICA_(GONE|IO)|SIDECAR)$/,
};

const TIMEOUT_MS = 2000;

export const faults: readonly Fault[] = [
  ...(["EIO", "ENOSPC", "EDQUOT", "ESTALE", "EROFS"] as const).map((error) => once(error)),
  ...(["EIO", "ENOSPC", "EROFS", "ESTALE", "ENODEV"] as const).map((error) => fromThenOn(error)),
  {
    name: "the disk vanishes",
    kinds: ALL,
    rules: (point) => [{ ...only(point), does: "vanish" }],
    replica: /^ERR_LOCKSTEP_(REPLICA_(GONE|IO)|SIDECAR)$/,
    // An index without frames, and no file that was folded: somebody else might have done that.
    primary: /^ERR_LOCKSTEP_(PRIMARY_(IO|CHANGED|MISSING)|SIDECAR|BUSY)$|SQLITE/,
  },
  {
    name: "a short write",
    kinds: ["write"],
    rules: (point) => [{ ...only(point), does: { short: 10 } }],
    replica: NONE,
    primary: NONE,
  },
  {
    name: "the disk is full in the middle of a write",
    kinds: ["write"],
    rules: (point) => [
      { ...only(point), does: { short: 10 } },
      { ...at(point), nth: point.nth + 1, does: { error: "ENOSPC" } },
    ],
    replica: REPLICA["ENOSPC"] as RegExp,
    primary: PRIMARY,
  },
  {
    name: "a slow sync",
    kinds: ["sync"],
    rules: (point) => [{ ...only(point), does: { delay: TIMEOUT_MS / 4 } }],
    replica: NONE,
    primary: NONE,
    timeout: TIMEOUT_MS,
  },
  {
    name: "a sync that is too slow",
    kinds: ["sync"],
    rules: (point) => [{ ...only(point), does: { delay: TIMEOUT_MS * 1.5 } }],
    replica: /^ERR_LOCKSTEP_(REPLICA_TIMEOUT|WORKER_DIED)$/,
    // Of the thread that folds both; and a replica's thread waits for the primary's disk where it makes files there.
    primary: /^ERR_LOCKSTEP_(WORKER_DIED|REPLICA_TIMEOUT)$/,
    timeout: TIMEOUT_MS,
  },
  {
    name: "the processes are killed",
    kinds: ALL,
    rules: (point) => [{ ...only(point), does: "killgroup" }],
    replica: NONE,
    primary: NONE,
    kills: true,
  },
];

/**
 * What a fault is for. Not for a short write to SQLite's index, which it takes for a failure. And where
 * the primary has lost something the replica's disk must not vanish, for then nobody has it; nor the
 * primary's where it is empty, for then a new primary is rightly missing when the disk is back; or where nobody has
 * looked at it yet, and no replica tells that there was one.
 */
export function pointsFor({ kinds, name }: Fault, phase: string, all: readonly Point[]): Point[] {
  const points = all.filter(({ kind }) => kinds.includes(kind));
  if (name === "a short write") return points.filter(({ path }) => !path.endsWith("-shm"));
  if (name !== "the disk vanishes") return points;
  if (/primary that (lost|is missing)/.test(phase)) return points.filter(isOn("main"));
  if (/nothing on either side/.test(phase)) return points.filter(isOn("replica"));
  return /was never replicated/.test(phase) ? points.filter(isNotFirst) : points;
}

/** May an application be told this, if this call failed so? */
export function allows(fault: Fault, { kind, path }: Point, code: string): boolean {
  const { replica, primary } = fault;
  // What SQLite cannot lock in its index, or not remove, is in somebody's use; it says no more of it. Nor does
  // it of a file that it could open to be read only, or not lock: then it leaves what is beside that.
  const inUse =
    (kind === "lock" && /db(-shm)?$/.test(path)) ||
    (kind === "open" && /db$/.test(path)) ||
    (kind === "unlink" && /-(shm|wal)$/.test(path));
  if (inUse && code === "ERR_LOCKSTEP_BUSY" && replica !== NONE) return true;
  return (path.startsWith("main") ? primary : replica).test(code);
}

function isOn(disk: "main" | "replica"): (point: Point) => boolean {
  return (point) => diskOf(point) === disk;
}

/** A start begins with the primary's record. */
function isNotFirst({ kind, path, nth }: Point): boolean {
  return !(kind === "open" && path === "main/app.db-lockstep" && nth === 1);
}

export function diskOf({ path }: Point): "main" | "replica" {
  return path.startsWith("main") ? "main" : "replica";
}

export function tell({ kind, path, nth }: Point): string {
  return `${kind} ${path} ${nth}`;
}

/** What can fail of what was recorded. Reads are not recorded, but counted. */
export function pointsOf(calls: readonly Call[], reads: ReadonlyMap<string, number>): Point[] {
  const counts = new Map<string, number>();
  const points: Point[] = [];
  for (const { kind, path: name } of calls) {
    const path = name.replace(/set-aside-[\dTZ-]+/, "set-aside-*");
    if (!/^(main|replica)\b/.test(path)) continue;
    const nth = (counts.get(`${kind} ${path}`) ?? 0) + 1;
    counts.set(`${kind} ${path}`, nth);
    points.push({ kind, path, nth });
  }
  for (const [path, n] of reads) {
    for (let nth = 1; nth <= n; nth++) points.push({ kind: "read", path, nth });
  }
  return points;
}

/**
 * Of many calls of one kind on one file those whose turn is a power of two, and the last: what is
 * done over and over is hardly different the third time.
 */
export function thinned(points: readonly Point[]): Point[] {
  const last = new Map(points.map(({ kind, path, nth }) => [`${kind} ${path}`, nth]));
  return points.filter(
    ({ kind, path, nth }) =>
      Number.isInteger(Math.log2(nth)) || last.get(`${kind} ${path}`) === nth,
  );
}

const RECORD = ["-lockstep", "-lockstep-journal", "-lockstep-amended"];
const FILES = ["", "-wal", "-shm", ...RECORD, "-lockstep-new"].flatMap((suffix) => [
  `main/app.db${suffix}`,
  `replica/app.db${suffix}`,
]);

/** Has reads counted; `readsOf` says how many there were. */
export function countReads(faults: Faults): void {
  const never = { nth: 1e9, does: { error: "EIO" } } as const;
  faults.set(...FILES.map((path): Rule => ({ ...at({ kind: "read", path, nth: 1 }), ...never })));
}

export function readsOf(faults: Faults): Map<string, number> {
  return new Map(FILES.map((path, i) => [path, faults.matched(i)]));
}

// --- internal ---

function at({ kind, path }: Point): Pick<Rule, "on" | "path"> {
  return { on: kind, path: `/${path}` };
}

function only(point: Point): Pick<Rule, "on" | "path" | "nth" | "times"> {
  return { ...at(point), nth: point.nth, times: 1 };
}

/** This call fails, and none after it. */
function once(error: Errno): Fault {
  const reads: readonly Kind[] = error === "EIO" || error === "ESTALE" ? ["read", "lock"] : [];
  return {
    name: `${error}, once`,
    kinds: [...CHANGES, "open", ...reads],
    rules: (point) => [{ ...only(point), does: { error } }],
    replica: REPLICA[error] as RegExp,
    primary: PRIMARY,
  };
}

/** From this call on everything fails on that disk: all that changes it, or, if it is gone, all. */
function fromThenOn(error: Errno): Fault {
  const more: readonly Kind[] = /EIO|ESTALE|ENODEV/.test(error) ? ["open", "read", "lock"] : [];
  const does = { error };
  return {
    name: `${error}, from then on`,
    kinds: [...CHANGES, "open"],
    rules: (point) => {
      const path = `/${diskOf(point)}/`;
      const rest = ["*" as const, ...more].map((on): Rule => ({ on, path, nth: "then", does }));
      return [{ ...only(point), does }, ...rest];
    },
    replica: REPLICA[error] as RegExp,
    primary: PRIMARY,
  };
}
