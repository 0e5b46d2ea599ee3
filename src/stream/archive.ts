/**
 * A stream in a plain directory: another disk, a network share, a bucket that other tools mount or copy.
 *
 *     lockstep-archive        what this directory is: {"format": 1}
 *     purged-0000000042       the messages before 42 were removed; of several the highest counts
 *     log/000001/0000010000   message 10,000: 10,000 messages a directory
 *     snapshots/<name>        an object: its bytes, their SHA-256 (32 bytes), "LKSO", version 1 (4 bytes)
 *     new/                    what is being written; whatever is left there after a crash may be removed
 *
 *     message := 0 4 magic "LKSA"   4 4 version, 1   8 8 when it was taken, in milliseconds since 1970
 *               16 8 its number   24 4 bytes that follow   28 4 CRC-32 of the rest, these four bytes taken as 0
 *               32 the message                                    integers are little-endian
 *
 * A message is written under another name and synced, and then linked to its number: that fails if the number
 * is taken, and so decides between two who write, on every file system that can link. Of two who remove neither takes back
 * what the other has put on record, whoever comes first: each has a name of its own for that.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { codes, LockstepError } from "../errors.ts";
import { invariant } from "../invariant.ts";
import { gone, missingHere, rewound, tornFile, unsure, unwritten } from "./archive-errors.ts";
import {
  decode,
  encode,
  makeDirectory,
  NEW,
  namesIn,
  numbersIn,
  readIfThere,
  removeEmpty,
  sweepOld,
  syncNames,
  writeSynced,
  writeWhole,
} from "./archive-file.ts";
import { getObject, putObject } from "./archive-objects.ts";
import type { Ends, Entry, StreamLog } from "./log.ts";
import { changesIn } from "./watch.ts";

const { promises: files } = fs;

export const ARCHIVE_SCHEME = "archive:";

/** Makes an empty archive, where nothing is, or an empty directory. @throws LockstepError DEST_EXISTS */
export async function createArchive(directory: string): Promise<void> {
  await files.mkdir(directory, { recursive: true });
  const present = await files.readdir(directory);
  if (present.length > 0 && !present.includes(MARKER)) {
    throw new LockstepError(codes.DEST_EXISTS, {
      copy: directory,
      what: "There are files already, and they are no archive",
      state: "Nothing was changed",
      next: "Name an empty directory, or one that is not there",
    });
  }
  for (const name of [LOG, OBJECTS, NEW]) {
    await files.mkdir(path.join(directory, name), { recursive: true });
  }
  await writeWhole(directory, MARKER, `${JSON.stringify({ format: 1 })}\n`);
  await syncNames(path.dirname(path.resolve(directory)));
}

export class Archive implements StreamLog {
  readonly name: string;
  readonly maxBytes = 4 << 20;
  onLoss: (why: LockstepError) => void = () => {};
  readonly #root: string;
  /** Below this number messages were removed. */
  #purged = 1;
  /** The last message that is known to be there. */
  #last = 0;
  /** Up to this number names are known to be durable. */
  #settled = 0;
  /** The last message that an `append` of this object has put there. */
  #appended = 0;

  private constructor(root: string) {
    this.#root = root;
    this.name = `${ARCHIVE_SCHEME}${root}`;
  }

  /** @throws LockstepError REPLICA_GONE if there is no archive */
  static async open(directory: string): Promise<Archive> {
    const archive = new Archive(path.resolve(directory));
    await archive.#assertThere();
    return archive;
  }

  async ends(): Promise<Ends> {
    await this.#assertThere();
    await this.#readPurged();
    await this.#findLast();
    if (this.#last < this.#appended) throw rewound(this.name, this.#last, this.#appended);
    await this.#settle(this.#last);
    return { first: Math.min(await this.#findFirst(), this.#last + 1), last: this.#last };
  }

  async at(sequence: number): Promise<Entry | null> {
    const bytes = await readIfThere(this.#pathOf(sequence));
    return bytes && decode(bytes, sequence, this.#pathOf(sequence));
  }

  async *read(
    first: number,
    until: { readonly to: number } | { readonly live: AbortSignal },
  ): AsyncGenerator<Entry> {
    const to = "to" in until ? until.to : Number.POSITIVE_INFINITY;
    await this.#settle("to" in until ? to : (await this.ends()).last);
    const asked: Promise<Entry | null>[] = [];
    try {
      for (let next = first; next <= to; next++) {
        // Where the end is known the files of several are read at once; each is looked at in its turn.
        const upTo = "to" in until ? Math.min(to, next + AT_ONCE - 1) : next;
        while (next + asked.length <= upTo) {
          const file = this.at(next + asked.length);
          file.catch(() => {}); // in its turn
          asked.push(file);
        }
        let entry = await (asked.shift() as Promise<Entry | null>);
        if (!entry) {
          await this.#readPurged();
          if (next < this.#purged) throw gone(this.name, `message ${next} was removed`);
          const { last } = await this.ends();
          const mayCome = "live" in until && next >= last;
          if (mayCome) await this.#untilThere(next, until.live);
          entry = await this.at(next); // also of those before the end: it came, perhaps, and others behind it
          if (!entry && mayCome && until.live.aborted) return;
          if (!entry) throw missingHere(this.#pathOf(next));
        }
        if ("live" in until && until.live.aborted) return;
        await this.#settle(next);
        this.#last = Math.max(this.#last, next);
        yield entry;
      }
    } finally {
      await Promise.allSettled(asked);
    }
  }

  async append(bytes: Uint8Array, after: number, signal: AbortSignal): Promise<Entry | null> {
    if (signal.aborted) throw unsure(this.name, after + 1, signal.reason);
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = (): void => reject(unsure(this.name, after + 1, signal.reason));
    signal.addEventListener("abort", stop, { once: true });
    const done = this.#append(Uint8Array.from(bytes), after); // the caller may use its bytes again
    done.catch(() => {}); // if the signal came first
    try {
      return await Promise.race([done, promise]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async force(bytes: Uint8Array, signal: AbortSignal): Promise<number> {
    for (;;) {
      const { last } = await this.ends();
      if (!(await this.append(bytes, last, signal))) return last + 1;
    }
  }

  async purge(before: number): Promise<void> {
    const { first, last } = await this.ends();
    invariant(before <= last + 1, "only what is there is removed", { before, last });
    if (before <= first) return;
    // durable: what is to be removed is on record before it is
    await writeWhole(this.#root, purgedName(before), `${before}\n`);
    this.#purged = before;
    for (let n = first; n < before; n++) {
      await files.rm(this.#pathOf(n), { force: true });
      if (n % SHARD === SHARD - 1) await removeEmpty(this.#shardOf(n));
    }
    for (const older of await this.#purgedOnRecord()) {
      const file = path.join(this.#root, purgedName(older));
      if (older < before) await files.rm(file, { force: true });
    }
  }

  async put(name: string, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    await putObject(path.join(this.#root, NEW), this.#objectOf(name), chunks, signal);
  }

  get(name: string): AsyncGenerator<Uint8Array> {
    return getObject(this.#objectOf(name));
  }

  async objects(): Promise<readonly string[]> {
    return (await namesIn(path.join(this.#root, OBJECTS))).map(decodeURIComponent).sort();
  }

  async remove(name: string): Promise<void> {
    await files.rm(this.#objectOf(name), { force: true });
  }

  async sweep(before: Date): Promise<number> {
    return await sweepOld(path.join(this.#root, NEW), before);
  }

  async close(): Promise<void> {} // nothing is held open

  async #append(bytes: Uint8Array, after: number): Promise<Entry | null> {
    invariant(bytes.length <= this.maxBytes, "a message fits", { length: bytes.length });
    await this.#assertThere();
    const sequence = after + 1;
    const name = this.#pathOf(sequence);
    const there = await this.at(sequence);
    if (there) return this.#taken(there, bytes);
    await this.#assertReaches(after);
    const fresh = path.join(
      this.#root,
      NEW,
      `${sequence}-${process.pid}-${randomBytes(4).toString("hex")}`,
    );
    try {
      await makeDirectory(this.#shardOf(sequence));
      await writeSynced(fresh, encode(bytes, sequence)); // durable: a message before its name
    } catch (cause) {
      await files.rm(fresh, { force: true }).catch(() => {});
      throw unwritten(this.name, cause);
    }
    try {
      await files.link(fresh, name);
    } catch (cause) {
      const taken = (cause as NodeJS.ErrnoException).code === "EEXIST" && (await this.at(sequence));
      if (taken) return this.#taken(taken, bytes);
      throw unsure(this.name, sequence, cause);
    } finally {
      await files.rm(fresh, { force: true }).catch(() => {});
    }
    return this.#has(sequence);
  }

  /** The place has a message: is it ours, from an attempt before? */
  #taken(there: Entry, bytes: Uint8Array): Promise<null> | Entry {
    return Buffer.compare(there.bytes, bytes) === 0 ? this.#has(there.sequence) : there;
  }

  /** The message is there; durable when this resolves. */
  async #has(sequence: number): Promise<null> {
    try {
      await this.#settle(sequence);
    } catch (cause) {
      throw unsure(this.name, sequence, cause);
    }
    this.#last = Math.max(this.#last, sequence);
    this.#appended = Math.max(this.#appended, sequence);
    return null;
  }

  /** @throws LockstepError REWOUND if the log ends before this message */
  async #assertReaches(after: number): Promise<void> {
    if (after === 0 || fs.existsSync(this.#pathOf(after))) return;
    const { first, last } = await this.ends();
    // durable: no message behind a gap
    if (after > last) throw rewound(this.name, last, after);
    if (after >= first) throw missingHere(this.#pathOf(after));
    if (after < first - 1) throw gone(this.name, `message ${after + 1} was removed`);
  }

  /** The names up to this message are on stable storage: whoever put them there may have died before that. */
  async #settle(sequence: number): Promise<void> {
    if (sequence <= this.#settled) return;
    const from = Math.max(this.#settled, this.#purged, sequence - SHARD);
    for (let n = Math.floor(from / SHARD); n <= Math.floor(sequence / SHARD); n++) {
      const shard = this.#shardOf(n * SHARD);
      if (fs.existsSync(shard)) await syncNames(shard); // durable: a message's name
    }
    await syncNames(path.join(this.#root, LOG)); // durable: the name of its directory
    this.#settled = sequence;
  }

  async #findLast(): Promise<void> {
    this.#last = Math.max(this.#last, this.#purged - 1);
    for (let tries = 0; tries < PROBES; tries++) {
      if (!fs.existsSync(this.#pathOf(this.#last + 1))) {
        if (this.#last < this.#purged || fs.existsSync(this.#pathOf(this.#last))) return;
        break; // it was cut off
      }
      this.#last++;
    }
    this.#last = this.#purged - 1;
    for (const shard of (await this.#shards()).reverse()) {
      const numbers = await numbersIn(path.join(this.#root, LOG, shard));
      if (numbers.length === 0) continue;
      this.#last = Math.max(this.#last, numbers.at(-1) as number);
      return;
    }
  }

  async #findFirst(): Promise<number> {
    for (;;) {
      const purged = this.#purged;
      if (this.#last < purged || fs.existsSync(this.#pathOf(purged))) return purged;
      await this.#readPurged(); // another process may have removed more meanwhile
      if (this.#purged <= purged) throw missingHere(this.#pathOf(purged));
    }
  }

  async #shards(): Promise<string[]> {
    return (await namesIn(path.join(this.#root, LOG)))
      .filter((name) => /^\d{6,}$/.test(name))
      .sort();
  }

  async #readPurged(): Promise<void> {
    this.#purged = Math.max(this.#purged, ...(await this.#purgedOnRecord()));
  }

  async #purgedOnRecord(): Promise<number[]> {
    const names = (await namesIn(this.#root)).filter((name) => PURGED.test(name));
    return names.map((name) => Number(name.slice(name.indexOf("-") + 1)));
  }

  async #untilThere(sequence: number, live: AbortSignal): Promise<void> {
    const name = this.#pathOf(sequence);
    const directories = [this.#shardOf(sequence), path.join(this.#root, LOG)];
    for await (const _ of changesIn(directories, live)) {
      if (fs.existsSync(name)) return;
      await this.#assertThere();
    }
  }

  async #assertThere(): Promise<void> {
    const file = path.join(this.#root, MARKER);
    const bytes = await readIfThere(file);
    if (!bytes) throw gone(this.name, "there is no archive");
    if (!/^\{"format": ?1\}\s*$/.test(bytes.toString("utf8"))) throw tornFile(file);
  }

  #pathOf(sequence: number): string {
    return path.join(this.#shardOf(sequence), String(sequence).padStart(10, "0"));
  }

  #shardOf(sequence: number): string {
    return path.join(this.#root, LOG, String(Math.floor(sequence / SHARD)).padStart(6, "0"));
  }

  #objectOf(name: string): string {
    return path.join(this.#root, OBJECTS, encodeURIComponent(name));
  }
}

// --- internal ---

const MARKER = "lockstep-archive";
const PURGED = /^purged-\d{10,}$/;
const purgedName = (before: number): string => `purged-${String(before).padStart(10, "0")}`;
const LOG = "log";
const OBJECTS = "snapshots";
/** Messages a directory. */
const SHARD = 10_000;
/** How many files are read at once: of 4 MiB at most. */
const AT_ONCE = 8;
/** How many messages are looked for one by one before directories are listed. */
const PROBES = 1000;
