/**
 * The primary, as the committing thread holds it: its lock, its log, and its connections.
 *
 *   guard   keeps the log from restarting, see guard.ts
 *   admin   takes the write lock, at the start and while the log is made longer, and folds the log.
 *           `foldStandingStill` opens one more, for admin holds the lock then.
 *   folder  among programs that write as well: folds the log, for admin may hold the lock
 *
 * Others that write may fold as well, at any moment: then the record says so all the time.
 *
 * The descriptors of the file and of its `-shm` are kept until both connections are closed: closing
 * either drops the application's locks. Only heal.ts writes to one, the `-shm`, and to the log.
 */
import fs from "node:fs";
import path from "node:path";
import { type Connection, type Driver, isBusy, journalMode, READ } from "../driver.ts";
import { type Copy, describeCopy } from "../lineage/describe.ts";
import { readFingerprint, sameFingerprint, stampFingerprint } from "../lineage/fingerprint.ts";
import { busy } from "../lineage/fold.ts";
import { keeperOf } from "../lineage/keeper.ts";
import { Later, withPast } from "../lineage/left-at.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import { Sidecar } from "../lineage/sidecar.ts";
import { syncDirectory } from "../targets/directory.ts";
import {
  type CheckpointRow,
  checkpoint,
  closeShared,
  closeUnused,
  leadsTo,
  openGuard,
  openWriter,
} from "../targets/file.ts";
import { growLog, isTight } from "../targets/log-file.ts";
import { frameOffset, sameSalts, sameSums } from "../wal/format.ts";
import { readFully } from "../wal/scan.ts";
import { SharedIndex } from "../wal/shared-index.ts";
import type { Deputy } from "./deputy.ts";
import { everyStep } from "./every-step.ts";
import { Guard } from "./guard.ts";
import { pause } from "./slots.ts";
import { cannotBeOpened, cannotBeReplicated, indexStaysInvalid, notWal } from "./unopened.ts";

/** How long others' locks are waited for, in milliseconds. */
export const LOCK_WAIT_MS = 5000;
/** How often the write lock is asked for that others take in turns, in milliseconds. */
const ASK_MS = 0.25;
const INDEX_TRIES = 1000;

export class Primary {
  readonly path: string;
  readonly sidecar: Sidecar;
  readonly #driver: Driver;
  /** Do other programs write it as well, as they like? Then there may be a deputy. */
  readonly foreign: boolean;
  readonly #deputy: Deputy | null;
  #guard: Guard | null = null;
  #admin: Connection | null = null;
  #folder: Connection | null = null;
  file = -1;
  log = -1;
  #logSize = 0;
  shm = -1;
  #index: SharedIndex | null = null;
  /** What was handed to every mirror: the end of the log, as far as it was seen. */
  position: Position;
  streams: Readonly<Record<string, number>>; // see streams.ts
  readonly later: Later; // see leave.ts

  /** Locks it. @throws LockstepError LOCKED */
  constructor(driver: Driver, file: string, deputy: Deputy | null = null) {
    this.path = file;
    this.foreign = deputy !== null;
    this.#deputy = deputy;
    this.#driver = driver;
    this.sidecar = Sidecar.open(driver, file, "primary");
    const { timeline, streams = {} } = this.sidecar.state;
    this.streams = streams;
    this.later = new Later(this.sidecar.state);
    this.position = { timeline, salt1: 0, salt2: 0, frame: 0, sum1: 0, sum2: 0 }; // the start finds it
  }

  /** Looks at it; changes nothing. */
  describe(): Copy {
    return withPast(describeCopy(this.path, this.sidecar));
  }

  /** Opens it with SQLite, which recovers a hot journal; changes nothing else. */
  open(): void {
    if (this.#admin) return;
    try {
      // durable: a log stays if the opening fails. See `#disconnecting`; a hot journal must be written
      if (this.#hasLogOnly()) this.#guard = this.#newGuard();
      this.#admin = this.mayWrite();
      this.#admin.all(READ);
      if (this.foreign) this.#folder = this.mayWrite();
      if (journalMode(this.#admin, "") === "wal") this.#watchLog();
    } catch (error) {
      throw cannotBeOpened(this.path, error);
    }
  }

  #newGuard(): Guard {
    const open = (): Connection => openGuard(this.#driver, this.path);
    return new Guard(open(), this.foreign ? open() : null);
  }

  mayWrite(timeout = LOCK_WAIT_MS): Connection {
    return openWriter(this.#driver, this.path, timeout);
  }

  get walMode(): boolean {
    return this.#index !== null;
  }

  /**
   * Switches it to WAL mode, if it is in another.
   * @throws LockstepError NOT_WAL if that is not ours to do
   */
  useWal(): void {
    if (this.walMode) return;
    if (this.foreign) throw notWal(this.path);
    try {
      const mode = journalMode(this.#connection(), "=WAL");
      if (mode !== "wal") throw cannotBeReplicated(this.path, mode);
      this.#watchLog();
    } catch (error) {
      throw cannotBeOpened(this.path, error);
    }
  }

  #hasLogOnly(): boolean {
    return fs.existsSync(`${this.path}-wal`) && !fs.existsSync(`${this.path}-journal`);
  }

  #watchLog(): void {
    this.#guard ??= this.#newGuard();
    this.file = fs.openSync(this.path, "r");
    this.log = fs.openSync(`${this.path}-wal`, "r+");
    this.shm = fs.openSync(`${this.path}-shm`, "r+");
    this.#index = new SharedIndex(this.shm);
    syncDirectory(path.dirname(this.path)); // durable: the log's name, primary
  }

  sqliteVersion(): string {
    return String(this.#connection().all("SELECT sqlite_version() AS version")[0]?.["version"]);
  }

  /** Keeps every writer out until `release`. */
  standStill(): void {
    try {
      if (this.foreign && this.tryStandStill(LOCK_WAIT_MS)) return;
      this.#connection().exec("BEGIN IMMEDIATE");
    } catch (error) {
      throw cannotBeOpened(this.path, error);
    }
  }

  release(): void {
    this.#connection().exec("ROLLBACK");
  }

  /** Has SQLite fold the log; it waits for others no longer than LOCK_WAIT_MS. */
  checkpoint(mode: "RESTART" | "TRUNCATE"): CheckpointRow {
    return checkpoint(this.#connection(), mode);
  }

  /**
   * Folds the log whole while the primary stands still; it stays in place.
   * @throws LockstepError BUSY if a reader is in the way: then nothing has changed that matters
   */
  foldStandingStill({ log, position }: Copy): void {
    if (!log || !position) return; // the file alone holds the position
    // durable: a checkpoint is under way, standing still
    this.sidecar.beginFold();
    const folder = this.mayWrite();
    try {
      const deadline = performance.now() + LOCK_WAIT_MS;
      while (checkpoint(folder, "PASSIVE").checkpointed < position.frame) {
        if (performance.now() > deadline) throw busy(this.path);
        pause(1);
      }
    } finally {
      folder.close();
    }
    this.recordFolded(position);
  }

  /** The file alone now holds `position`. */
  recordFolded(position: Position): void {
    const sums = keeperOf(this.sidecar).keep(position.frame);
    const sync = (): void => fs.fsyncSync(this.file);
    const file = stampFingerprint(this.path, sync, this.sidecar.state.folded?.file);
    // durable: what the file holds, primary
    const folded = { position, file, sums };
    const { foreign: folding, streams, later } = this;
    this.sidecar.amend({ folding, folded, streams, leftAt: later.at });
  }

  /**
   * Others may fold what their log does not prove: no start takes its word, and once it has begun anew pages are compared.
   * @param at what all copies hold
   */
  distrustLog(at: Position): void {
    const history = this.sidecar.lacking([at]);
    // durable: no log vouches for what a checkpoint put into the file besides
    this.sidecar.update({ generation: null, folded: null }, { history });
  }

  /** The wal-index's header as it was last read. */
  get index(): SharedIndex {
    return this.#index as SharedIndex;
  }

  /** The wal-index's header; waits out another program's update of it. */
  readIndex(): SharedIndex {
    const index = this.#index as SharedIndex;
    for (let i = 0; i < INDEX_TRIES; i++) {
      if (index.read()) return index;
      pause(1);
    }
    throw indexStaysInvalid(this.path);
  }

  /** Has something been committed that the replicas do not hold? */
  hasNews(): boolean {
    const { position } = this;
    const index = this.#index as SharedIndex;
    if (!index.read()) this.readIndex();
    if (index.frames === 0) return !this.foldedHere(); // or frames came and went unseen
    return !(
      index.frames === position.frame &&
      sameSums(index, position) &&
      sameSalts(index, position)
    );
  }

  /** Is the file as it was when the position that the replicas hold was folded into it? */
  foldedHere(): boolean {
    return this.holdsFolded(this.position);
  }

  /** The same of any position. */
  holdsFolded(position: Position): boolean {
    const { folded } = this.sidecar.state;
    const file = readFingerprint(this.path);
    return (
      folded !== null &&
      file !== null &&
      samePosition(folded.position, position) &&
      sameFingerprint(folded.file, file)
    );
  }

  /** Reads log bytes. */
  readLog(into: Uint8Array, at: number, length: number, offset: number): void {
    const n = readFully(this.log, into, at, length, offset);
    if (n !== length) throw new Error(`the log ends at byte ${offset + n}`);
  }

  /** @throws if the log's name is gone: what is synced then survives nothing */
  assertLogHasName(): void {
    // durable: not a nameless log
    if (fs.fstatSync(this.log).nlink === 0) throw new Error("the log was unlinked");
  }

  /** Does its path still lead to it? Who opens another file there does not write to this one. */
  hasItsName(): boolean {
    return leadsTo(this.path, this.file);
  }

  /** The log is on stable storage, under its name. */
  syncLog(): void {
    this.assertLogHasName();
    fs.fdatasyncSync(this.log); // durable: the primary's log
  }

  /** Keeps every writer out until `release`, if it can be had within so many milliseconds. */
  tryStandStill(patience: number): boolean {
    const admin = this.#connection();
    const deadline = performance.now() + patience;
    admin.exec("PRAGMA busy_timeout=0"); // SQLite would ask ever more seldom
    try {
      for (;;) {
        try {
          admin.exec("BEGIN IMMEDIATE"); // durable: nobody writes to the log while it grows
          return true;
        } catch (error) {
          if (!isBusy(error)) throw error;
          if (performance.now() >= deadline) return false;
          pause(ASK_MS);
        }
      }
    } finally {
      admin.exec(`PRAGMA busy_timeout=${LOCK_WAIT_MS}`);
    }
  }

  /** Makes room behind the log's end, unless somebody is writing just now. Others' log is left as it is. */
  growAhead(): void {
    const { pageSize } = this.index;
    const used = frameOffset(this.position.frame + 1, pageSize);
    if (this.foreign || !isTight(used, this.#logSize)) return;
    if (!this.tryStandStill(0)) return; // with the next commit, then
    try {
      const { frames } = this.readIndex();
      this.#logSize = growLog(this.log, frameOffset(frames + 1, pageSize));
    } finally {
      this.release();
    }
  }

  /** Is the log kept from restarting unseen? */
  get held(): boolean {
    return this.#guard?.held ?? false;
  }

  /** Begins the guard's read transaction anew, at the log's end. Among others only with `position` in the file, on record. */
  hold(): void {
    this.#guard?.hold();
    this.#deputy?.toZero(this.readIndex(), this.position.frame);
  }

  /**
   * Moves the read mark to the log's end, so that the log can be folded up to there. If all of it is
   * in the file already the mark stays: a new one would let the log restart. Others may fold at any
   * moment: so it is looked at once more, when nobody can fold further than was seen. Among others only
   * while `position` is not in the file, or the log might have begun anew, and be folded then, unseen.
   */
  holdAtEnd(): void {
    const { frames, backfilled } = this.readIndex();
    if (backfilled >= frames && this.held) return;
    // durable: the read mark moves to the end
    const isHeld = this.#guard?.holdOffZero(() => this.readIndex().backfilled < frames);
    if (isHeld) this.#deputy?.toEnd(this.index);
  }

  /** May the next commit restart the log? All of it is in the file then, and on record. */
  get mayRestart(): boolean {
    return this.#guard?.mayBeAtZero ?? true;
  }

  /** Does SQLite see what was described, and no more? */
  sees({ log, position }: Copy): boolean {
    const index = this.readIndex();
    if (!position) return false;
    if (!log) {
      const now = this.describe().position; // a log may have come and gone
      return index.frames === 0 && now !== null && samePosition(now, position);
    }
    return sameSalts(index, log.header) && index.frames === position.frame;
  }

  /** Folds what the log holds as far as readers allow; true if that was all of it. */
  fold(): boolean {
    this.sidecar.beginFold(); // durable: a checkpoint is under way, primary
    this.#deputy?.settle();
    const row = checkpoint(this.#folder ?? this.#connection(), "PASSIVE");
    return !row.busy && row.log === this.position.frame && row.checkpointed === row.log;
  }

  /**
   * Lets go of all of it, and throws the first error only then: a lock must not outlive its owner.
   * @param folded is the whole log in the file? Then it is removed; else it stays, as after a crash
   */
  close(folded: boolean, event: string): void {
    const failed = everyStep([
      ...this.#disconnecting(folded),
      () => event !== "" && this.sidecar.update({ streams: this.streams }, { event: [event, ""] }),
      () => this.sidecar.close(),
    ]);
    if (failed) throw failed.error;
  }

  /** Closes it, but keeps its lock; the log stays. */
  disconnect(): void {
    const failed = everyStep(this.#disconnecting(false));
    if (failed) throw failed.error;
  }

  #disconnecting(folded: boolean): (() => unknown)[] {
    // Whichever connection closes last would fold and unlink the log, if it may write.
    const [first, last] = folded ? [this.#guard, this.#admin] : [this.#admin, this.#guard];
    const [file, log, shm, folder] = [this.file, this.log, this.shm, this.#folder];
    this.#guard = this.#admin = this.#folder = this.#index = null;
    this.file = this.log = this.shm = -1;
    return [
      () => folder?.close(),
      () => first?.close(),
      () => last?.close(),
      () => file >= 0 && closeUnused(this.path, file),
      () => log >= 0 && fs.closeSync(log),
      () => shm >= 0 && closeShared(shm),
    ];
  }

  #connection(): Connection {
    return this.#admin as Connection;
  }
}
