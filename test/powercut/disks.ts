/**
 * Disks as a power cut leaves them. Each directory below the root is a disk of its own. What was synced
 * is there; of the rest any part may be:
 *
 *   content   each sector of 512 bytes by itself, as it was after any of the writes to it since the
 *             last sync of its file, or before them; a longer file has zeroes or garbage where no sector
 *             survived; a file may have grown without any of its bytes, or not
 *   times     the file's mtime, as it was at any moment since the last fsync
 *   names     what was created, renamed and unlinked in a directory since its last sync, up to any
 *             point: a file system's journal keeps the order of these
 *
 * A sync covers what was done before it began, and counts once it has ended.
 */
import type { Random } from "../crash/random.ts";
import type { Operation } from "./tape.ts";

const SECTOR = 512;

/** A file on a disk after the cut. */
export interface Remains {
  readonly bytes: Uint8Array;
  readonly mtimeNs: bigint;
  /** What its inode was called when it was recorded. */
  readonly inode: number;
}

/** The files of all disks, by their paths below the root. */
export type Wreck = ReadonlyMap<string, Remains>;

/** How much survives of what was not synced. */
export type Mood = "nothing" | "everything" | "anything";

export class Disks {
  /** By the number of its inode, which is used again once a file is gone. */
  readonly #files = new Map<number, File>();
  readonly #directories = new Map<string, Directory>();
  /** Of each thread: what its sync under way covers. */
  readonly #syncs = new Map<number, () => void>();

  apply(operation: Operation): void {
    const { kind, inode, path, thread } = operation;
    switch (kind) {
      case "create":
        this.#files.set(inode, new File(inode, operation.mtimeNs));
        this.#directory(path).do({ name: path, file: this.#files.get(inode) as File });
        return;
      case "rename": {
        const directory = this.#directory(path);
        if (directory.has(operation.before)) {
          directory.do({ name: operation.before, file: null, to: path });
        }
        return;
      }
      case "unlink":
        this.#directory(path).do({ name: path, file: null });
        return;
      case "write":
      case "truncate":
      case "utimens":
        this.#files.get(inode)?.do(operation);
        return;
      case "sync-begin": {
        const file = this.#files.get(inode);
        const directory = this.#directories.get(path);
        const end = file?.beginSync(operation.at === 1) ?? directory?.beginSync();
        if (end) this.#syncs.set(thread, end);
        return;
      }
      case "sync-end":
        this.#syncs.get(thread)?.();
        this.#syncs.delete(thread);
        return;
    }
  }

  /** What is left if the power fails now. The disks go on as if it had not. */
  cut(random: Random, mood: Mood): Wreck {
    const wreck = new Map<string, Remains>();
    for (const directory of this.#directories.values()) {
      for (const [path, file] of directory.cut(random, mood)) {
        wreck.set(path, file.cut(random, mood));
      }
    }
    return wreck;
  }

  #directory(path: string): Directory {
    const name = path.slice(0, path.lastIndexOf("/"));
    const known = this.#directories.get(name) ?? new Directory();
    this.#directories.set(name, known);
    return known;
  }
}

// --- internal ---

interface Naming {
  readonly name: string;
  /** null: the name goes. */
  readonly file: File | null;
  /** Of a rename: the new name. */
  readonly to?: string;
}

class Directory {
  readonly #durable = new Map<string, File>();
  readonly #pending: Naming[] = [];
  /** How many were pending once, and are durable. */
  #done = 0;
  /** As the running system sees it. */
  readonly #now = new Map<string, File>();

  has(name: string): boolean {
    return this.#now.has(name);
  }

  do(naming: Naming): void {
    this.#pending.push(naming);
    enact(this.#now, naming);
  }

  beginSync(): () => void {
    const covered = this.#done + this.#pending.length;
    return () => {
      const ended = this.#pending.splice(0, Math.max(0, covered - this.#done));
      for (const naming of ended) enact(this.#durable, naming);
      this.#done += ended.length;
    };
  }

  cut(random: Random, mood: Mood): Map<string, File> {
    const left = new Map(this.#durable);
    const { length } = this.#pending;
    const kept = mood === "nothing" ? 0 : mood === "everything" ? length : random.below(length + 1);
    for (const naming of this.#pending.slice(0, kept)) enact(left, naming);
    return left;
  }
}

function enact(names: Map<string, File>, { name, file, to }: Naming): void {
  if (to !== undefined) names.set(to, names.get(name) as File);
  if (file === null) names.delete(name);
  else names.set(name, file);
}

class File {
  readonly #inode: number;
  #durable = new Uint8Array(0);
  /** Is it part of what a cut has left? Then it does not change any more. */
  #isLent = false;
  #durableMtimeNs: bigint;
  readonly #pending: Operation[] = [];
  /** The mtimes since the last fsync, the last one last. */
  readonly #mtimes: bigint[] = [];
  /** How many were pending once, and are durable. */
  readonly #done = { writes: 0, times: 0 };

  constructor(inode: number, mtimeNs: bigint) {
    this.#inode = inode;
    this.#durableMtimeNs = mtimeNs;
  }

  do(operation: Operation): void {
    if (operation.kind !== "utimens") this.#pending.push(operation);
    this.#mtimes.push(operation.mtimeNs);
  }

  beginSync(withTimes: boolean): () => void {
    const done = this.#done; // another sync may end before this one
    const writes = done.writes + this.#pending.length;
    const times = withTimes ? done.times + this.#mtimes.length : 0;
    return () => {
      const synced = this.#pending.splice(0, Math.max(0, writes - done.writes));
      if (synced.length > 0) {
        const durable = this.#isLent ? this.#durable.slice() : this.#durable;
        this.#durable = synced.reduce(written, durable);
        this.#isLent = false;
      }
      done.writes += synced.length;
      const moments = this.#mtimes.splice(0, Math.max(0, times - done.times));
      this.#durableMtimeNs = moments.at(-1) ?? this.#durableMtimeNs;
      done.times += moments.length;
    };
  }

  cut(random: Random, mood: Mood): Remains {
    const inode = this.#inode;
    if (mood === "nothing") return { inode, bytes: this.#lend(), mtimeNs: this.#durableMtimeNs };
    const isSynced = this.#pending.length === 0;
    if (mood === "everything") {
      const bytes = isSynced ? this.#lend() : this.#pending.reduce(written, this.#durable.slice());
      return { inode, bytes, mtimeNs: this.#mtimes.at(-1) ?? this.#durableMtimeNs };
    }
    const bytes = isSynced ? this.#lend() : this.#torn(random);
    const mtimeNs = random.pick([this.#durableMtimeNs, ...this.#mtimes.slice(-4)]);
    return { inode, bytes, mtimeNs };
  }

  #lend(): Uint8Array {
    this.#isLent = true;
    return this.#durable;
  }

  /** Some sectors of what is pending. */
  #torn(random: Random): Uint8Array {
    const survives = random.pick([0, 5, 50, 95, 100]); // percent
    const until = new Map<number, number>();
    const limit = (sector: number): number => {
      const known = until.get(sector);
      if (known !== undefined) return known;
      const all = this.#pending.length;
      const chosen = random.below(100) < survives ? random.pick([all, random.below(all + 1)]) : 0;
      until.set(sector, chosen);
      return chosen;
    };
    // Changes of the size are kept up to some point, as names are.
    const sizes = random.pick([this.#pending.length, random.below(this.#pending.length + 1)]);
    const size = sizeAfter(this.#durable.length, this.#pending.slice(0, sizes));
    let reach = 0;
    for (const [i, each] of this.#pending.entries()) {
      if (each.kind !== "write") continue;
      for (const [sector, , end] of sectorsOf(each)) {
        if (i < limit(sector)) reach = Math.max(reach, end);
      }
    }
    const left = new Uint8Array(
      Math.max(size, Math.min(reach, sizeAfter(this.#durable.length, this.#pending))),
    );
    const old = this.#durable.subarray(0, left.length);
    left.set(old);
    if (random.oneIn(3)) left.set(random.bytes(left.length - old.length), old.length);
    for (const [i, each] of this.#pending.entries()) {
      if (each.kind === "truncate") continue;
      for (const [sector, start, end] of sectorsOf(each)) {
        if (i >= limit(sector) || start >= left.length) continue;
        const data = each.data.subarray(start - each.at, Math.min(end, left.length) - each.at);
        left.set(data, start);
      }
    }
    return left;
  }
}

/** The sectors that a write touches, and where in the file its part of each begins and ends. */
function* sectorsOf({ at, data }: Operation): Generator<readonly [number, number, number]> {
  const last = at + data.length;
  for (let start = at; start < last; ) {
    const sector = Math.floor(start / SECTOR);
    const end = Math.min(last, (sector + 1) * SECTOR);
    yield [sector, start, end];
    start = end;
  }
}

function sizeAfter(size: number, operations: readonly Operation[]): number {
  return operations.reduce(
    (now, { kind, at, data }) => (kind === "truncate" ? at : Math.max(now, at + data.length)),
    size,
  );
}

function written(bytes: Uint8Array<ArrayBuffer>, operation: Operation): Uint8Array<ArrayBuffer> {
  const size = sizeAfter(bytes.length, [operation]);
  const result = size === bytes.length ? bytes : new Uint8Array(size);
  if (result !== bytes) result.set(bytes.subarray(0, size));
  if (operation.kind === "write") result.set(operation.data, operation.at);
  return result;
}
