/**
 * Looks, now and then, for what is not wrong yet (src/warning.ts): in the background, never while a commit is
 * under way. A disk that hangs keeps it from looking at disks, and from nothing else. It keeps no process alive.
 */
import { throwOurs } from "../errors.ts";
import type { SharedIndex } from "../wal/shared-index.ts";
import type { OpenTransaction, Warning, WarningKind } from "../warning.ts";
import { aboutDisks, placesOf } from "./disks.ts";
import type { Place } from "./file-system.ts";
import { inTurn, withdraw } from "./in-turn.ts";
import { type Holders, holdersOf, inodeOf, nameOf } from "./locks.ts";
import * as say from "./say.ts";
import { type Held, Transactions } from "./transactions.ts";

/** What is looked at. */
export interface Watched {
  /** The primary's path first. */
  readonly copies: readonly [primary: string, ...string[]];
  /** SQLite's index of the primary's log. */
  readonly index: SharedIndex;
  /** Those that the connections of this thread have open. */
  readonly transactions: () => readonly OpenTransaction[];
  readonly log: () => say.LogSize;
  /** Why nobody looks for rot, if somebody should. */
  readonly noScrub: () => string | null;
  /** What was accepted of streams that cannot keep all that they acknowledge. */
  readonly accepted: () => readonly (readonly [stream: string, what: string])[];
}

export interface Limits {
  /** In milliseconds; 0: none. */
  readonly openTransactionMs: number;
  /** In bytes; 0: none; null: what say.ts says. */
  readonly lowSpaceBytes: number | null;
}

/** Called when a warning begins, and when it is over. */
export interface Listener {
  readonly begun: (warning: Warning) => void;
  readonly over: (warning: Warning) => void;
}

/** How often it looks, in milliseconds: four times as often as a transaction may be open, within these. */
const SELDOMEST_MS = 5000;
const OFTENEST_MS = 50;
/** When it looks for the first time: not while a program opens its databases. */
const FIRST_MS = 50;

const DISK_KINDS: readonly WarningKind[] = ["low-space", "same-disk", "remote-disk", "no-disk"];

export class Watcher {
  readonly #watched: Watched;
  readonly #limits: Limits;
  readonly #listener: Listener;
  readonly #foreign = new Transactions();
  #places: ReadonlyMap<string, Place> = new Map();
  /** Of the `-shm` of each copy. The primary's is open: no look at its disk is needed. */
  readonly #inodes = new Map<string, string>();
  #timer: NodeJS.Timeout;
  #isClosed = false;
  /** In the order in which they began. */
  #warnings: readonly say.Keyed[] = [];

  constructor(watched: Watched, limits: Limits, listener: Listener) {
    this.#watched = watched;
    this.#limits = limits;
    this.#listener = listener;
    this.#inodes.set(watched.copies[0], watched.index.inode);
    this.#timer = setTimeout(this.#look, FIRST_MS).unref();
  }

  get warnings(): readonly Warning[] {
    return this.#warnings.map(([, warning]) => warning);
  }

  /** What an unprivileged process may still write there, in bytes; null if that is not known. */
  freeBytes(copy: string): number | null {
    return this.#places.get(copy)?.freeBytes ?? null;
  }

  /** For how long the oldest transaction of this thread's connections is open, in milliseconds; or null. */
  get openTransactionMs(): number | null {
    if (this.#isClosed) return null;
    const all = this.#watched.transactions().map(({ begunAt }) => performance.now() - begunAt);
    return all.length > 0 ? Math.max(...all) : null;
  }

  close(): void {
    this.#isClosed = true;
    this.#warnings = [];
    clearTimeout(this.#timer);
    withdraw(this.#lookAtDisks);
  }

  readonly #look = (): void => {
    inTurn(this.#lookAtDisks);
    // A disk that fails under a look is found by the next commit, if it lasts.
    void this.#lookAtTransactions()
      .catch(throwOurs)
      .finally(() => {
        if (this.#isClosed) return;
        const { openTransactionMs: limit } = this.#limits;
        const pause = limit > 0 ? Math.max(OFTENEST_MS, limit / 4) : SELDOMEST_MS;
        this.#timer = setTimeout(this.#look, Math.min(pause, SELDOMEST_MS)).unref();
      });
  };

  async #lookAtTransactions(): Promise<void> {
    const [primary] = this.#watched.copies;
    const log = this.#watched.log();
    const isLarge = log.bytes > log.limitBytes;
    const readers = isLarge ? await this.#readers() : [];
    const holders = await this.#holders(primary);
    if (this.#isClosed) return;
    const own = this.#watched.transactions();
    const held = this.#held(holders, own.length > 0);
    const transactions = this.#tooLong(own).map((each) => say.ownTransaction(primary, each));
    for (const each of held) {
      const name = each.pid === process.pid ? "" : await nameOf(each.pid);
      if (name !== null) transactions.push(say.heldTransaction(primary, each, name));
    }
    if (this.#isClosed) return;
    this.#replace(["open-transaction"], transactions);
    const accepted = this.#watched.accepted().map((each) => say.unsafeStream(...each));
    this.#replace(["unsafe-stream"], accepted);
    const noScrub = this.#watched.noScrub();
    this.#replace(["no-scrub"], noScrub === null ? [] : [say.noScrub(primary, noScrub)]);
    this.#replace(["large-log"], isLarge ? [say.largeLog(primary, log, readers)] : []);
  }

  async #holders(copy: string): Promise<Holders | null> {
    const inode = this.#inodes.get(copy);
    return inode === undefined ? null : holdersOf(inode);
  }

  /** What others hold for too long. */
  #held(holders: Holders | null, isOwnKnown: boolean): readonly Held[] {
    const { index } = this.#watched;
    if (!holders || !index.read()) return [];
    const { openTransactionMs: limit } = this.#limits;
    const held = this.#foreign.look(holders, index, isOwnKnown);
    return held.filter(({ seenAt }) => limit > 0 && performance.now() - seenAt >= limit);
  }

  #tooLong(own: readonly OpenTransaction[]): readonly OpenTransaction[] {
    const { openTransactionMs: limit } = this.#limits;
    return own.filter(({ begunAt }) => limit > 0 && performance.now() - begunAt >= limit);
  }

  /** Who reads the copies, by name. */
  async #readers(): Promise<readonly string[]> {
    const names = new Set<string>();
    for (const copy of this.#watched.copies) {
      const holders = await this.#holders(copy);
      for (const pid of holders?.readers.flat() ?? []) {
        const name = pid === process.pid ? null : await nameOf(pid);
        if (name) names.add(name);
      }
    }
    return [...names];
  }

  readonly #lookAtDisks = async (): Promise<void> => {
    const { copies } = this.#watched;
    for (const copy of copies.slice(1)) {
      const inode = await inodeOf(copy);
      if (inode !== null) this.#inodes.set(copy, inode);
      else this.#inodes.delete(copy);
    }
    this.#places = await placesOf(copies);
    if (this.#isClosed) return;
    const wasLow = (copy: string): boolean =>
      this.#warnings.some(([key]) => key === say.lowSpaceKey(copy));
    const found = aboutDisks(copies, this.#places, this.#limits.lowSpaceBytes, wasLow);
    // Of a disk that is not there just now all is as it was.
    const isUnknown = ([, { kind, copy }]: say.Keyed): boolean =>
      DISK_KINDS.includes(kind) &&
      (!this.#places.has(copy) || (kind === "same-disk" && !this.#places.has(copies[0])));
    this.#replace(DISK_KINDS, [...found, ...this.#warnings.filter(isUnknown)]);
  };

  /** These are the warnings of these kinds now: tells of what has begun, and of what is over. */
  #replace(kinds: readonly WarningKind[], found: readonly say.Keyed[]): void {
    const before = this.#warnings;
    const isStill = ([key, { kind }]: say.Keyed): boolean =>
      !kinds.includes(kind) || found.some(([each]) => each === key);
    const known = (key: string): Warning | undefined => before.find(([each]) => each === key)?.[1];
    const kept = before.filter(isStill).map(([key, warning]): say.Keyed => {
      const now = found.find(([each]) => each === key)?.[1]; // its figures may have changed
      return [key, now ? { ...now, since: warning.since } : warning];
    });
    const begun = found.filter(([key]) => !known(key));
    this.#warnings = [...kept, ...begun];
    for (const each of before) if (!isStill(each)) this.#listener.over(each[1]);
    for (const [, warning] of begun) this.#listener.begun(warning);
  }
}
