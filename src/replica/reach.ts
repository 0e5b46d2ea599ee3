/**
 * Waiting until a copy that others write has come far enough: `reach()`.
 *
 * Whoever writes the copy writes its `-shm` when readers are to see more: where the system tells of
 * that, as Linux does, it wakes who waits here; elsewhere, and if it does not, a slow clock does. It is
 * the directory that is watched: to watch a file some systems open it, and to close that would drop
 * this process's locks.
 */
import fs from "node:fs";
import path from "node:path";

/** How long a change may stay unnoticed where the system does not tell of it, in milliseconds. */
const POLL_MS = 100;

interface Waiter<Seen> {
  /** Is it over? It has resolved or rejected then. Does not throw. */
  look(seen: Seen): boolean;
  fail(error: unknown): void;
}

export class Waiting<Seen> {
  readonly #directory: string;
  readonly #name: string;
  /** What there is to be seen now, by all who wait; null: nothing that is sure. */
  readonly #glance: () => Seen | null;
  readonly #waiters = new Set<Waiter<Seen>>();
  #watcher: fs.FSWatcher | null = null;
  #poll: NodeJS.Timeout | null = null;
  #woken = false;

  constructor(copy: string, glance: () => Seen | null) {
    this.#glance = glance;
    this.#directory = path.dirname(copy);
    this.#name = path.basename(copy);
  }

  /** Looks now, at every change, and now and then, until it is over. */
  add(waiter: Waiter<Seen>): void {
    this.#show([waiter], () => this.#waiters.add(waiter));
    if (!this.#waiters.has(waiter)) return;
    if (this.#poll) return;
    this.#poll = setInterval(() => this.#look(), POLL_MS);
    try {
      this.#watcher = fs.watch(this.#directory, { persistent: false }, (_, name) => {
        if (name === null || name.startsWith(this.#name)) this.wake();
      });
      this.#watcher.on("error", () => this.#unwatch());
    } catch {
      // No more watches to be had, or none on this system: the clock is enough.
    }
    this.wake(); // for what has changed since the first look
  }

  delete(waiter: Waiter<Seen>): void {
    if (this.#waiters.delete(waiter) && this.#waiters.size === 0) this.#rest();
  }

  /** Everybody looks soon; many changes at once are one. */
  wake(): void {
    if (this.#woken) return;
    this.#woken = true;
    setImmediate(() => {
      this.#woken = false;
      this.#look();
    });
  }

  #look(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    this.#show(waiters, (waiter) => this.#waiters.add(waiter));
    if (this.#waiters.size === 0) this.#rest();
  }

  /** Shows each what there is; those for whom it is not enough go on waiting. */
  #show(waiters: readonly Waiter<Seen>[], wait: (waiter: Waiter<Seen>) => void): void {
    let seen: Seen | null;
    try {
      seen = this.#glance();
    } catch (error) {
      for (const waiter of waiters) waiter.fail(error);
      return;
    }
    for (const waiter of waiters) if (seen === null || !waiter.look(seen)) wait(waiter);
  }

  #rest(): void {
    if (this.#poll) clearInterval(this.#poll);
    this.#poll = null;
    this.#unwatch();
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = null;
  }
}
