/**
 * A warm standby: a file that follows a stream. It is an ordinary replica, readable live, at the end of a transaction
 * at every instant; any number of them cost the primary nothing.
 *
 *   1  lock DEST's record; find out where it stands
 *   2  nothing there: the newest snapshot, and its log up to it, put there whole
 *   3  find in the stream the log that holds its position; what follows is delivered, synced, shown
 *   4  go on with what comes, until the signal; with `once` only to what is the end at the start
 */
import fs from "node:fs";
import { type Driver, loadDriver } from "../driver.ts";
import { codes, type LockstepError } from "../errors.ts";
import { InvariantError } from "../invariant.ts";
import { type Copy, describeCopy, isThere, realPath } from "../lineage/describe.ts";
import { formatPosition, type Position, samePosition } from "../lineage/position.ts";
import { completeCutOff } from "../lineage/resync.ts";
import { Sidecar, sidecarPath } from "../lineage/sidecar.ts";
import { takeBackUnbegun } from "../lineage/unbegun.ts";
import { setAside } from "../restore/set-aside.ts";
import { findLog, findStart } from "../stream/find.ts";
import type { Keys } from "../stream/keys.ts";
import type { Entry, StreamLog } from "../stream/log.ts";
import { Reading } from "../stream/reading.ts";
import { decodeSegment } from "../stream/segment.ts";
import { type Whole, wholes } from "../stream/transactions.ts";
import { sameSalts } from "../wal/format.ts";
import { Feed } from "./feed.ts";
import { installLog, makeStandby } from "./make.ts";
import { cannotFollow, refused } from "./refusals.ts";
import type { StageProgress } from "./stage.ts";

export interface FollowOptions {
  readonly keys?: Keys | null;
  /** Stop at what is the stream's end at the start? Default false: go on until the signal. */
  readonly once?: boolean;
  /** Set aside what stands at `dest` and cannot go on? Default false: refuse. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: FollowProgress) => void;
  /** At the end that was known at the start. */
  readonly onInStep?: (status: FollowStatus) => void;
  /** Whenever something was delivered, and now and then. */
  readonly onStatus?: (status: FollowStatus) => void;
}

export type FollowProgress =
  | Parameters<StageProgress>[0]
  | { readonly phase: "catch-up"; readonly done: number; readonly total: number };

export interface FollowStatus {
  readonly stream: string;
  readonly dest: string;
  /** `timeline/generation/frame/checksum`. */
  readonly position: string;
  /** The last message that was read. */
  readonly message: number;
  /** How many the stream has besides; null: not known, its end was not heard of for more than five seconds. */
  readonly behind: number | null;
  /** How long the last commit took from the stream's end to readers of this copy, in milliseconds. */
  readonly lagMs: number;
}

/** After how long what was heard last is no longer taken for how it is, in milliseconds. */
export const SILENT_MS = 5000;

/** Where a copy came to. */
export interface Came extends FollowStatus {
  readonly databaseId: string;
  readonly timeline: number;
  /** Whose messages count at the stream's end, as far as it was read; null: not known. */
  readonly writer: string | null;
}

/** Where following ended. */
export interface Followed extends Came {
  /** What stood at `dest` is called this now, or null. */
  readonly setAside: string | null;
}

/**
 * Follows `log` with the copy at `dest`.
 * @throws LockstepError LOCKED, SIDECAR, BUSY; REPLICA_UNKNOWN if what stands there is no replica of this
 *   database; DIVERGED if it holds what the stream does not; REPLICA_GONE if the stream no longer holds what it takes;
 *   REPLICA_CHANGED if a message or the copy was changed; VERIFY if a snapshot is damaged; what the disk says
 */
export async function follow(
  log: StreamLog,
  dest: string,
  options: FollowOptions = {},
): Promise<Followed> {
  const file = realPath(dest);
  const driver = loadDriver("node:sqlite");
  assertNoOther(file, log.name, options.force ?? false);
  const attempt = async (): Promise<Came> => {
    const sidecar = Sidecar.open(driver, file, "replica");
    try {
      return await followHeld(log, driver, sidecar, options);
    } finally {
      sidecar.close();
    }
  };
  try {
    return { ...(await attempt()), setAside: null };
  } catch (error) {
    if (!options.force || !isSettledByForce(error) || !isThere(file)) throw error;
    const ends = await log.ends();
    const whole = { to: ends.last, position: null };
    if (!(await findStart(log, ends, whole, options.keys ?? null))) throw error; // it is the better one
    const aside = setAside(file, false, () => {});
    return { ...(await attempt()), setAside: aside };
  }
}

/** The same with a record that the caller holds. @param options rest: see `Feed.close` */
export async function followHeld(
  log: StreamLog,
  driver: Driver,
  sidecar: Sidecar,
  options: FollowOptions & { readonly rest?: boolean },
): Promise<Came> {
  const at = await prepare(log, driver, sidecar, options);
  return deliverAll(log, driver, sidecar, at, options);
}

// --- internal ---

/** How much is delivered before it is synced, in bytes, and how long it may wait for that, in milliseconds. */
const GROUP_BYTES = 4 << 20;
const GROUP_MS = 100;
const STATUS_MS = 1000;

interface Place {
  /** The first message to read. */
  readonly from: number;
  /** The stream's last message at the start. */
  readonly last: number;
}

/** Steps 1 to 3: the copy is there, and stands where the stream's frames can be appended. */
async function prepare(
  log: StreamLog,
  driver: Driver,
  sidecar: Sidecar,
  options: FollowOptions,
): Promise<Place> {
  const { keys = null, onProgress = () => {}, signal = never } = options;
  completeCutOff(driver, sidecar);
  let copy = describeCopy(sidecar.copy, sidecar);
  if (takeBackUnbegun(sidecar, copy)) copy = describeCopy(sidecar.copy, sidecar);
  if (copy.file === "missing") {
    await makeStandby(log, sidecar, { keys, onProgress, signal });
    copy = describeCopy(sidecar.copy, sidecar);
  }
  const position = assertFollows(copy, log.name);
  const ends = await log.ends();
  const from = await findLog(log, ends, position, keys);
  if (from === null) {
    const what = `The stream no longer holds what follows ${formatPosition(position)}, where it stands`;
    throw cannotFollow(codes.REPLICA_GONE, copy.path, log.name, what);
  }
  if (!copy.log && position.frame > 0 && (await holds(log, from, position))) {
    await installLog(log, driver, sidecar, { from, position, keys });
  }
  if (sidecar.state.stream !== log.name) sidecar.update({ stream: log.name });
  return { from, last: ends.last };
}

/** Does the log that begins there hold the position, so that the copy needs it to go on? */
async function holds(log: StreamLog, from: number, position: Position): Promise<boolean> {
  const entry = (await log.at(from)) as Entry;
  const { header } = decodeSegment(entry.bytes, `${log.name} message ${from}`);
  return header.frames > 0 && sameSalts(header, position);
}

/** Step 4. */
async function deliverAll(
  log: StreamLog,
  driver: Driver,
  sidecar: Sidecar,
  { from, last }: Place,
  options: FollowOptions & { readonly rest?: boolean },
): Promise<Came> {
  const { keys = null, once = false, signal = never } = options;
  const feed = new Feed(driver, sidecar, signal);
  const reading = new Reading(log.name, from, keys);
  const pace = new Pace(log, sidecar.copy, feed, { from, last }, options);
  try {
    const entries = log.read(from, once ? { to: last } : { live: signal });
    const each = wholes(log, entries, reading, keys)[Symbol.asyncIterator]();
    if (from > last) pace.inStep(from - 1, reading);
    for (let next = each.next(); ; ) {
      if (feed.unsynced > 0 && (pace.isDue || !(await isReady(next)))) pace.sync();
      const { value: whole, done } = await next;
      if (done) break;
      await take(whole, feed, sidecar, log.name);
      if (once && signal.aborted) break;
      pace.took(whole);
      next = each.next();
    }
    if (feed.unsynced > 0) pace.sync();
    if (once || !signal.aborted) assertAllThere(reading, feed, sidecar.copy, log.name);
    feed.close(options.rest ?? false);
    const { databaseId, timeline } = sidecar.state;
    const { writer } = reading.state;
    return { ...pace.status, databaseId: databaseId as string, timeline, writer };
  } catch (error) {
    feed.abandon();
    throw error;
  } finally {
    pace.stop();
  }
}

async function take(whole: Whole, feed: Feed, sidecar: Sidecar, stream: string): Promise<void> {
  const { reading } = whole;
  const { databaseId } = reading.state;
  const { copy, state } = sidecar;
  if (databaseId !== null && databaseId !== state.databaseId) {
    const what = `It is of database ${state.databaseId}, and the stream of ${databaseId}`;
    throw cannotFollow(codes.REPLICA_UNKNOWN, copy, stream, what);
  }
  // Also where reading began behind the promotion.
  if (reading.state.timeline > state.timeline) feed.raise(reading.state.timeline);
  let hasPieces = false;
  for await (const piece of whole.pieces()) {
    hasPieces = true;
    if (await feed.deliver(piece)) continue;
    if (whole.snapshot) throw beganAnew(copy, feed.position, stream, whole.snapshot.sequence);
    throw apart(copy, feed.position, stream);
  }
  // A snapshot without a log: the copy holds it, or cannot get there.
  const { snapshot } = whole;
  if (snapshot && !hasPieces && !samePosition(feed.position, snapshot.position)) {
    throw beganAnew(copy, feed.position, stream, snapshot.sequence);
  }
}

function beganAnew(
  copy: string,
  position: Position,
  stream: string,
  message: number,
): LockstepError {
  const what = `The stream began anew at a snapshot, message ${message}: what leads there from ${formatPosition(position)}, where the copy stands, is not in it`;
  return cannotFollow(codes.REPLICA_GONE, copy, stream, what);
}

/** Is the next one there already, so that it can be synced with what came before? */
async function isReady(next: Promise<unknown>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  setImmediate(() => setImmediate(resolve, false));
  return Promise.race([next.then(() => true), promise]);
}

/** Tells how far it is. */
class Pace {
  readonly #log: StreamLog;
  readonly #dest: string;
  readonly #feed: Feed;
  readonly #from: number;
  readonly #options: FollowOptions;
  readonly #timer: NodeJS.Timeout;
  /** The stream's last message at the start; as it was last heard of, and at what time at the latest, by the monotonic clock. */
  readonly #goal: number;
  #end: number;
  #askedAt = performance.now();
  #isAsking = false;
  /** The last message that was delivered. */
  #message: number;
  #time = 0;
  #since = 0;
  #lagMs = 0;
  #isInStep = false;
  #isStopped = false;

  constructor(
    log: StreamLog,
    dest: string,
    feed: Feed,
    { from, last }: Place,
    options: FollowOptions,
  ) {
    this.#log = log;
    this.#dest = dest;
    this.#feed = feed;
    this.#from = from;
    this.#message = from - 1;
    this.#goal = this.#end = last;
    this.#options = options;
    this.#timer = setInterval(() => void this.#ask(), STATUS_MS);
  }

  get status(): FollowStatus {
    const isKnown = performance.now() - this.#askedAt <= SILENT_MS;
    return {
      ...{ stream: this.#log.name, dest: this.#dest },
      position: formatPosition(this.#feed.position),
      message: this.#message,
      behind: isKnown ? Math.max(0, this.#end - this.#message) : null,
      lagMs: this.#lagMs,
    };
  }

  /** Has what was delivered waited long enough for more? */
  get isDue(): boolean {
    return this.#feed.unsynced >= GROUP_BYTES || performance.now() - this.#since > GROUP_MS;
  }

  took({ sequence, time, reading }: Whole): void {
    if (this.#feed.unsynced > 0 && this.#since === 0) this.#since = performance.now();
    this.#message = sequence;
    this.#time = time.getTime();
    const { onProgress = () => {} } = this.#options;
    if (this.#isInStep) return;
    const total = Math.max(1, this.#goal - this.#from + 1);
    onProgress({ phase: "catch-up", done: sequence - this.#from + 1, total });
    if (sequence >= this.#goal) this.inStep(sequence, reading);
  }

  sync(): void {
    this.#feed.sync();
    this.#since = 0;
    this.#lagMs = Math.max(0, Date.now() - this.#time);
    this.#options.onStatus?.(this.status);
  }

  inStep(message: number, _reading: Reading): void {
    if (this.#feed.unsynced > 0) this.sync();
    this.#message = message;
    this.#isInStep = true;
    this.#options.onInStep?.(this.status);
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  /** Asks for the stream's end, one question at a time; how it stands is told also while there is no answer. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return this.#tell();
    this.#isAsking = true;
    const now = performance.now();
    try {
      const { last } = await this.#log.ends();
      [this.#end, this.#askedAt] = [last, now];
    } catch (error) {
      if (error instanceof InvariantError) throw error; // anything else the reading itself says
    }
    this.#isAsking = false;
    this.#tell();
  }

  #tell(): void {
    if (this.#isInStep && !this.#isStopped) this.#options.onStatus?.(this.status);
  }
}

const never = new AbortController().signal;

/** @throws LockstepError */
function assertNoOther(file: string, stream: string, force: boolean): void {
  if (!isThere(file) || fs.existsSync(sidecarPath(file)) || force) return;
  const what = "There is a database that is no replica of this stream's";
  throw cannotFollow(codes.REPLICA_UNKNOWN, file, stream, what);
}

/** @returns where it stands */
function assertFollows({ path, state, position, because }: Copy, stream: string): Position {
  if (state?.role === "primary" && state.databaseId !== null) {
    const next = "Name another file; a primary that was replaced: move it away, and follow anew";
    throw refused(codes.REPLICA_UNKNOWN, path, "It is on record as a primary", next);
  }
  if (position) return position;
  throw cannotFollow(
    codes.REPLICA_UNKNOWN,
    path,
    stream,
    `Where it stands is not proven: ${because}`,
  );
}

/** All that the copy holds is in the stream. */
function assertAllThere(reading: Reading, feed: Feed, dest: string, stream: string): void {
  const { position } = reading.state;
  const isAhead =
    !position || !sameSalts(position, feed.position) || position.frame !== feed.position.frame;
  if (isAhead) throw apart(dest, feed.position, stream);
}

function apart(dest: string, position: Position, stream: string): LockstepError {
  const what = `It stands at ${formatPosition(position)}, which the stream does not lead through: it holds what the stream does not`;
  return cannotFollow(codes.DIVERGED, dest, stream, what);
}

function isSettledByForce(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  const settled: readonly unknown[] = [codes.REPLICA_UNKNOWN, codes.REPLICA_GONE, codes.DIVERGED];
  return settled.includes(code);
}
