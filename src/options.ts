/**
 * The options of a replicated database: what the two drop-ins accept beside the driver's own.
 */
import path from "node:path";
import { inspect } from "node:util";
import { absoluteAddress, isAsynchronous, isStream, masked } from "./address.ts";
import { codes, LockstepError } from "./errors.ts";

export type Durability = "commit" | "barrier";
export type ReplicaFailurePolicy = "stop" | "degrade";

/** Progress of long work at the start; `bytesPerSecond` is the average since the phase began. */
export interface Progress {
  readonly phase: "copy" | "compare" | "delta" | "catch-up" | "sync";
  /** The copy that is being written or compared. */
  readonly path: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly bytesPerSecond: number;
}

/** Where a copy lives: a file, or a stream (address.ts). */
export type Replica = string | { readonly path: string };

export interface ReplicationOptions {
  /**
   * Where the other copies live: file paths or addresses of streams, or objects that name one. At least
   * one. Relative paths start at the working directory, as the primary's does. No commit waits for a
   * stream whose address says `async=1`, and it may lack the last ones: docs/stream.md.
   */
  replicas?: readonly Replica[] | undefined;
  /**
   * What a returning write means. `"commit"` (default): it is on stable storage in every copy.
   * `"barrier"`: it is committed, and on its way; `await replication.durable()` says when every copy
   * has it. Power that fails before may take it back, whole and from the end.
   */
  durability?: Durability | undefined;
  /**
   * What a failing replica does to commits. `"stop"` (default): the connection is fenced. `"degrade"`:
   * commits go on without it while `minCopies` are left, once that is on record; it is brought back in
   * the background and counts again when it is proven equal.
   */
  onReplicaFailure?: ReplicaFailurePolicy | undefined;
  /**
   * With `"degrade"`: how many copies, the primary among them, must hold a commit before it is
   * acknowledged; with fewer left the connection is fenced. Default 2: the primary and one replica.
   * Streams that are asynchronous are not counted.
   */
  minCopies?: number | undefined;
  /**
   * How long a commit or a step of the start waits for a replica that shows no progress, in
   * milliseconds. Default 60000.
   */
  replicaTimeout?: number | undefined;
  /** If the primary is missing or empty and a replica is not: restore it. Default false. */
  restoreMissing?: boolean | undefined;
  /**
   * The size of the log, in bytes, from which it is checkpointed; it may grow by three times that
   * meanwhile, and further while a reader is in the way. Default 8 MiB.
   */
  checkpointBytes?: number | undefined;
  /**
   * How fast a process reads all copies, over and over, in search of pages that have rotted, in bytes a
   * second. What it finds is an event, `rot`; what another copy has is healed, with a commit of its own: `healed`.
   * Nothing waits for it. Default 0: there is none.
   */
  scrubBytesPerSecond?: number | undefined;
  /**
   * How long a transaction may be open, in milliseconds, before there is a warning that says where it was
   * begun. Default 60000; 0: there is none.
   */
  openTransactionMs?: number | undefined;
  /**
   * With how much room left on a copy's file system there is a warning, in bytes. Default: a twentieth of
   * the file system, 1 GiB at most; 0: there is none.
   */
  lowSpaceBytes?: number | undefined;
  /** Called while long work is done at the start, in the constructor. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Checked, with the defaults filled in; replica paths absolute. */
export interface Replication {
  readonly replicas: readonly string[];
  readonly durability: Durability;
  /** How many copies must hold a commit: with `"stop"` all of them. */
  readonly minCopies: number;
  readonly replicaTimeout: number;
  readonly restoreMissing: boolean;
  readonly checkpointBytes: number;
  readonly scrubBytesPerSecond: number;
  readonly openTransactionMs: number;
  /** Null: a twentieth of the file system, 1 GiB at most. */
  readonly lowSpaceBytes: number | null;
  readonly onProgress: ((progress: Progress) => void) | null;
}

export type OptionName = keyof ReplicationOptions;

/**
 * Reads Lockstep's options among the driver's; what it does not know is left to the driver.
 * @param options the constructor's argument, whatever it is
 * @param inDsn the options that the DSN named, checked; {} without a DSN
 * @returns null if no replica is given
 * @throws LockstepError BAD_OPTION
 */
export function readOptions(options: unknown, inDsn: ReplicationOptions): Replication | null {
  const given = isObject(options) ? options : {};
  refuseNearMisses(given);
  const merged: ReplicationOptions = { ...inDsn };
  for (const name of optionNames) {
    const value = given[name];
    if (value === undefined) continue;
    const wrong = wrongWith(name, value);
    if (wrong !== null) throw badOption(`Option \`${name}\` ${wrong}`);
    refuseContradiction(name, inDsn[name], value);
    Object.assign(merged, { [name]: value });
  }
  if (merged.replicas === undefined) {
    if (!("replicas" in given)) refuseWithoutEffect(merged);
    return null;
  }
  const replicas = absolutePaths(merged.replicas);
  return {
    replicas,
    durability: merged.durability ?? "commit",
    minCopies: leastCopies(merged, replicas),
    replicaTimeout: merged.replicaTimeout ?? 60_000,
    restoreMissing: merged.restoreMissing ?? false,
    checkpointBytes: merged.checkpointBytes ?? 8 << 20,
    scrubBytesPerSecond: merged.scrubBytesPerSecond ?? 0,
    openTransactionMs: merged.openTransactionMs ?? 60_000,
    lowSpaceBytes: merged.lowSpaceBytes ?? null,
    onProgress: merged.onProgress ?? null,
  };
}

/** What is wrong with an option's value, to stand behind its name; null if nothing is. */
export function wrongWith(name: OptionName, value: unknown): string | null {
  for (const [holds, must] of rules[name]) {
    if (!holds(value as never)) return `must ${must}, not ${show(value)}`;
  }
  return null;
}

/** The option that was probably meant by an unknown name, or null. */
export function nearMiss(name: string): OptionName | null {
  const plain = name.replaceAll(/[-_]/g, "").toLowerCase();
  for (const option of optionNames) {
    if (distance(plain, option.toLowerCase()) <= 2) return option;
  }
  return null;
}

// --- internal ---

/** What must hold, checked in this order; and how an error says it. */
type Rule<Value = never> = readonly [holds: (value: Value) => boolean, must: string];

const rules: Readonly<Record<OptionName, readonly Rule[]>> = {
  replicas: [
    [Array.isArray, "be an array"],
    [(value: unknown[]) => value.length > 0, "name at least one replica"],
    [
      (value: unknown[]) => value.every(isReplica),
      "hold paths, or objects with nothing but a path",
    ],
    [(value: Replica[]) => value.every(isPlace), "hold paths of files, or addresses of streams"],
  ],
  durability: [
    [(value: unknown) => value === "commit" || value === "barrier", 'be "commit" or "barrier"'],
  ],
  onReplicaFailure: [
    [(value: unknown) => value === "stop" || value === "degrade", 'be "stop" or "degrade"'],
  ],
  minCopies: [[integerFrom(1, Number.MAX_SAFE_INTEGER), "be a positive integer"]],
  replicaTimeout: [
    [integerFrom(1, 0x7fffffff), "be an integer from 1 to 2147483647, in milliseconds"],
  ],
  restoreMissing: [[(value: unknown) => typeof value === "boolean", "be true or false"]],
  checkpointBytes: [[integerFrom(1, Number.MAX_SAFE_INTEGER), "be a positive integer, in bytes"]],
  scrubBytesPerSecond: [
    [integerFrom(0, Number.MAX_SAFE_INTEGER), "be an integer from 0, in bytes"],
  ],
  openTransactionMs: [
    [integerFrom(0, Number.MAX_SAFE_INTEGER), "be an integer from 0, in milliseconds"],
  ],
  lowSpaceBytes: [[integerFrom(0, Number.MAX_SAFE_INTEGER), "be an integer from 0, in bytes"]],
  onProgress: [[(value: unknown) => typeof value === "function", "be a function"]],
};

const optionNames = Object.keys(rules) as OptionName[];

function refuseNearMisses(given: Record<string, unknown>): void {
  for (const name of Object.keys(given)) {
    const meant = nearMiss(name);
    if (meant !== null && meant !== name) {
      throw badOption(`Option \`${name}\` is not known: is \`${meant}\` meant?`);
    }
  }
}

function refuseContradiction(name: OptionName, inDsn: unknown, value: unknown): void {
  if (inDsn === undefined) return;
  const same =
    name === "replicas"
      ? String(absolutePaths(inDsn as Replica[])) === String(absolutePaths(value as Replica[]))
      : inDsn === value;
  if (!same) throw badOption(`Option \`${name}\` contradicts the DSN, which says ${show(inDsn)}`);
}

/** How many of all copies must hold a commit. */
function leastCopies(
  { onReplicaFailure, minCopies }: ReplicationOptions,
  replicas: readonly string[],
): number {
  const all = 1 + replicas.filter((replica) => !isAsynchronous(replica)).length;
  if (all === 1 && minCopies !== 1) {
    throw badOption(
      'Every replica is asynchronous: a commit would be on the primary alone. `onReplicaFailure: "degrade"` with `minCopies: 1` accepts that; or name a replica that commits wait for',
    );
  }
  if (onReplicaFailure !== "degrade") {
    if (minCopies === undefined) return all;
    throw badOption('Option `minCopies` has no effect without `onReplicaFailure: "degrade"`');
  }
  if (minCopies !== undefined && minCopies > all) {
    throw badOption(
      `Option \`minCopies\` is ${minCopies}, and commits wait for only ${all} copies`,
    );
  }
  return minCopies ?? 2;
}

/** Whoever sets one of our options wants replication: without replicas there would be none. */
function refuseWithoutEffect(merged: ReplicationOptions): void {
  const [name] = Object.keys(merged);
  if (name !== undefined) throw badOption(`Option \`${name}\` has no effect without \`replicas\``);
}

function isReplica(value: unknown): value is Replica {
  const replica = isObject(value) && Object.keys(value).length === 1 ? value["path"] : value;
  return typeof replica === "string";
}

/** Not empty, not in memory, no URL, nothing that the file system would cut off. */
function isPlace(replica: Replica): boolean {
  const file = pathOf(replica);
  if (isStream(file)) return !/\0/.test(file);
  return file.trim() !== "" && !/^:memory:$|^file:|^[a-z][\w+.-]+:\/\/|\0/i.test(file);
}

function integerFrom(least: number, most: number): (value: unknown) => boolean {
  return (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
}

function pathOf(replica: Replica): string {
  return typeof replica === "string" ? replica : replica.path;
}

function absolutePaths(replicas: readonly Replica[]): string[] {
  return replicas.map((replica) => {
    const place = pathOf(replica);
    return isStream(place) ? absoluteAddress(place) : path.resolve(place);
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Without what may be secret in the address of a stream. */
function show(value: unknown): string {
  const options = { depth: 1, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 200 };
  return masked(inspect(value, options));
}

function badOption(what: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what,
    state: "Nothing was opened",
    next: "Correct the options",
  });
}

/** How many letters must be added, dropped or replaced to make one name of the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1);
    }
    row = next;
  }
  return row[b.length] as number;
}
