/**
 * Two copies of a database: to A SQLite writes; to B its log is appended by hand, transaction by
 * transaction, while SQLite has B open as well. What SQLite's index of A says is what B's should say.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { type Connection, type DriverName, loadDriver } from "../../src/driver.ts";
import { checkpoint } from "../../src/targets/file.ts";
import { walkFrames } from "../../src/wal/chain.ts";
import {
  decodeWalHeader,
  frameOffset,
  frameSize,
  type Sums,
  sameSalts,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "../../src/wal/format.ts";
import { IndexWriter } from "../../src/wal/index-writer.ts";
import { SharedIndex } from "../../src/wal/shared-index.ts";
import { scratch } from "../scratch.ts";

/** Descriptors of a `-shm` stay open: closing one would drop SQLite's locks. */
const openShm = (file: string): number => fs.openSync(`${file}-shm`, "r+");

export class Twins {
  readonly a: string;
  readonly b: string;
  readonly writer: Connection;
  readonly reader: Connection;
  readonly index: SharedIndex;
  append: IndexWriter;
  /** The generation, and where in it B ends. */
  header: WalHeader | null = null;
  end: Sums & { frame: number } = { frame: 0, sum1: 0, sum2: 0 };
  readonly #shm: number;
  readonly #indexOfA: SharedIndex;
  readonly #log: number;

  constructor(t: TestContext, { pageSize = 512, driver = "node:sqlite" as DriverName } = {}) {
    const directory = scratch(t);
    this.a = path.join(directory, "a.db");
    this.b = path.join(directory, "b.db");
    const open = (file: string): Connection => {
      const connection = loadDriver(driver).open(file, { timeout: 500 });
      connection.exec("PRAGMA wal_autocheckpoint=0");
      connection.exec("PRAGMA synchronous=OFF");
      return connection;
    };
    this.writer = open(this.a);
    this.writer.exec(`PRAGMA page_size=${pageSize}`);
    this.writer.all("PRAGMA journal_mode=WAL");
    this.writer.exec("CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)");
    this.writer.all("PRAGMA wal_checkpoint(TRUNCATE)");
    fs.copyFileSync(this.a, this.b);
    this.reader = open(this.b);
    this.reader.all("SELECT count(*) FROM t");
    this.#indexOfA = new SharedIndex(openShm(this.a));
    this.#shm = openShm(this.b);
    this.index = new SharedIndex(this.#shm);
    this.append = new IndexWriter(this.#shm);
    this.#log = fs.openSync(`${this.b}-wal`, "r+");
    t.after(() => {
      this.writer.close();
      this.reader.close();
      fs.closeSync(this.#log);
    });
  }

  /** A writer of the index that has seen nothing of it yet. */
  renew(): void {
    this.append = new IndexWriter(this.#shm);
  }

  /** A transaction on A; its frames on B, and in B's index. False if that would not have them. */
  commit(sql: string): boolean {
    this.writer.exec(sql);
    assert.ok(this.#indexOfA.read());
    const { frames, pageSize } = this.#indexOfA;
    const log = fs.openSync(`${this.a}-wal`, "r");
    try {
      const head = Buffer.alloc(WAL_HEADER_SIZE);
      fs.readSync(log, head, 0, WAL_HEADER_SIZE, 0);
      const header = decodeWalHeader(head) as WalHeader;
      if (!this.header || !sameSalts(header, this.header)) {
        fs.writeSync(this.#log, head, 0, WAL_HEADER_SIZE, 0);
        this.end = { frame: 0, sum1: header.sum1, sum2: header.sum2 };
        if (this.header) {
          this.index.invalidate(); // it has the frames of the generation before, all of them folded
          this.reader.all("SELECT count(*) FROM t");
        }
      }
      this.header = header;
      const first = this.end.frame + 1;
      const count = frames - this.end.frame;
      const bytes = Buffer.alloc(count * frameSize(pageSize));
      fs.readSync(log, bytes, 0, bytes.length, frameOffset(first, pageSize));
      fs.writeSync(this.#log, bytes, 0, bytes.length, frameOffset(first, pageSize));
      const pages: number[] = [];
      const walk = walkFrames(bytes, 0, count, first, this.end, header, (_, page) =>
        pages.push(page),
      );
      assert.equal(walk.lastCommit?.frame, frames);
      const before = this.end;
      this.end = walk.lastCommit as Sums & { frame: number };
      return this.append.append(header, before, pages, walk.lastCommit as never);
    } finally {
      fs.closeSync(log);
    }
  }

  /** The same, and B's index was right before and is right after: nobody rebuilt it in between. */
  commitInStep(sql: string): void {
    assert.ok(this.index.read(), "valid before");
    const { change } = this.index;
    const { header } = this;
    assert.ok(this.commit(sql), "appended");
    assert.ok(this.index.read(), "valid after");
    const begun = header !== null && !sameSalts(header, this.header as WalHeader);
    assert.equal(this.index.change, begun ? 1 : change + 1);
    assert.equal(this.index.frames, this.end.frame);
  }

  /** Folds B whole, if that is possible. The log of A must stay: SQLite would begin it anew. */
  fold(): boolean {
    const row = checkpoint(this.reader, "PASSIVE");
    return row.log === row.checkpointed;
  }

  /** Folds B, then A, so that the next transaction begins a new generation; false if B has readers. */
  restart(): boolean {
    const row = checkpoint(this.reader, "RESTART");
    if (row.busy) return false;
    assert.deepEqual(checkpoint(this.writer, "RESTART"), row);
    return true;
  }

  /** Where the blocks of both indexes, and the headers but for their counters, differ. */
  difference(): string | null {
    return differenceOf(shownBy(this.a, this.end.frame), shownBy(this.b, this.end.frame));
  }

  sameFiles(): boolean {
    return fs.readFileSync(this.a).equals(fs.readFileSync(this.b));
  }
}

/** An index's blocks that have frames, without counters, sums and what others keep in its header. */
export function shownBy(file: string, frames: number): Buffer {
  const blocks = frames <= 4062 ? 1 : 1 + Math.ceil((frames - 4062) / 4096);
  const bytes = fs.readFileSync(`${file}-shm`);
  assert.ok(bytes.length >= blocks * 32768, "the index has all its blocks");
  assert.equal(bytes.length % 32768, 0);
  assert.ok(bytes.subarray(0, 48).equals(bytes.subarray(48, 96)), "both headers are equal");
  bytes.fill(0, 8, 12);
  bytes.fill(0, 40, 48);
  bytes.fill(0, 48, 136);
  return bytes.subarray(0, blocks * 32768);
}

export function differenceOf(a: Buffer, b: Buffer): string | null {
  if (a.equals(b)) return null;
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return `byte ${at}, block ${at >> 15}, ${a.length} and ${b.length} bytes`;
}

/** A process that reads B over and over; says how often, and what did not fit together. */
export async function watch(
  t: TestContext,
  file: string,
): Promise<{ stop(): Promise<{ reads: number; wrong: string[]; last: number }> }> {
  const child = spawn(process.execPath, ["--no-warnings", import.meta.filename, file, "watch"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let said = "";
  child.stdout.on("data", (text) => (said += text));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  return {
    async stop() {
      const closed = new Promise((resolve) => child.once("close", resolve));
      child.stdin.end();
      await closed;
      return JSON.parse(said.split("\n")[1] as string);
    },
  };
}

if (import.meta.main && process.argv[3] === "watch") {
  const db = new DatabaseSync(process.argv[2] as string, { timeout: 2000 });
  const query = db.prepare("SELECT sum(value) AS sum, count(*) AS n, max(step) AS step FROM pairs");
  const wrong: string[] = [];
  let reads = 0;
  let last = 0;
  let ended = false;
  process.stdin.resume().on("end", () => (ended = true));
  console.log("watching");
  while (!ended) {
    for (let i = 0; i < 20; i++) {
      const row = query.get() as { sum: number; n: number; step: number };
      if (row.sum !== 0 || row.n !== 200 || row.step < last) wrong.push(JSON.stringify(row));
      last = row.step;
      reads++;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log(JSON.stringify({ reads, wrong: wrong.slice(0, 5), last }));
  db.close();
}
