/**
 * A primary and a replica in directories of their own, a process that writes them under faults, and
 * what must be true of them afterwards.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { type DriverName, loadDriver } from "../../src/driver.ts";
import { readAmendment } from "../../src/lineage/amendment.ts";
import { type Fingerprint, readFingerprint } from "../../src/lineage/fingerprint.ts";
import type { SidecarState } from "../../src/lineage/sidecar.ts";
import { readSnapshot } from "../../src/lineage/unlocked.ts";
import type { ReplicationOptions } from "../../src/options.ts";
import { scratch } from "../scratch.ts";
import { keepFingerprint } from "../support/files.ts";
import { wrongSums } from "../support/sums.ts";
import type { Reply } from "./child.ts";
import { type Call, Faults, type Rule } from "./shim.ts";
import { Subject } from "./subject.ts";

/** Where a replica is to hang: short enough to wait for, long enough for a step on a busy machine. */
export const TIMEOUT_MS = 2000;

export interface Saved {
  /** By their paths. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Of the copies' files, which have others when they are laid out. */
  readonly prints: ReadonlyMap<string, Fingerprint>;
  readonly acknowledged: readonly number[];
  readonly doubtful: readonly number[];
  readonly next: number;
}

export class Pair {
  readonly driver: DriverName;
  readonly faults: Faults;
  readonly primary: string;
  readonly replica: string;
  readonly #scratch: string;
  #options: ReplicationOptions;
  #subject: Subject | null = null;
  #next = 1;
  /** Was a thread made to hang? */
  hangs = false;
  /** Rows whose commit returned, and those whose commit threw: these may be there or not. */
  readonly acknowledged = new Set<number>();
  readonly doubtful = new Set<number>();

  constructor(t: TestContext, driver: DriverName, options: ReplicationOptions = {}) {
    this.driver = driver;
    this.#scratch = fs.realpathSync(scratch(t));
    this.#options = options;
    const root = join(this.#scratch, "disks");
    for (const disk of ["main", "replica", "process"]) {
      fs.mkdirSync(join(root, disk), { recursive: true });
    }
    this.primary = join(root, "main", "app.db");
    this.replica = join(root, "replica", "app.db");
    this.faults = new Faults(root, this.#scratch);
    t.after(() => this.#subject?.kill());
  }

  /** Begins anew with nothing on either disk, in the same process if it lives. */
  anew(options: ReplicationOptions): void {
    this.#options = options;
    for (const disk of ["main", "replica"]) {
      const directory = join(this.faults.root, disk);
      fs.rmSync(`${directory}-gone`, { recursive: true, force: true });
      fs.rmSync(directory, { recursive: true, force: true });
      fs.mkdirSync(directory);
    }
    this.#next = 1;
    this.hangs = false;
    this.acknowledged.clear();
    this.doubtful.clear();
    this.faults.set();
  }

  /** The copies as they lie, and what was acknowledged: for `load`. Nobody has them open. */
  save(): Saved {
    const files = new Map<string, Uint8Array>();
    const prints = new Map<string, Fingerprint>();
    for (const copy of [this.primary, this.replica]) {
      const print = readFingerprint(copy);
      if (print) prints.set(copy, print);
      for (const name of fs.readdirSync(dirname(copy))) {
        const path = join(dirname(copy), name);
        files.set(path, fs.readFileSync(path));
      }
    }
    const [acknowledged, doubtful] = [[...this.acknowledged], [...this.doubtful]];
    return { files, prints, acknowledged, doubtful, next: this.#next };
  }

  /** Lays out what was saved where nothing is, as if it had been there all the time. */
  load({ files, prints, acknowledged, doubtful, next }: Saved): void {
    for (const [path, bytes] of files) fs.writeFileSync(path, bytes);
    const seconds = Date.now() / 1000 - 1 - Math.random(); // no later write gets this by itself
    for (const [copy, was] of prints) {
      fs.utimesSync(copy, seconds, seconds);
      keepFingerprint(copy, was);
    }
    for (const n of acknowledged) this.acknowledged.add(n);
    for (const n of doubtful) this.doubtful.add(n);
    this.#next = next;
  }

  /** Brings a disk back that vanished; what was written in its place meanwhile is gone with it. */
  remount(): void {
    for (const disk of ["main", "replica"]) {
      const directory = join(this.faults.root, disk);
      if (!fs.existsSync(`${directory}-gone`)) continue;
      fs.rmSync(directory, { recursive: true, force: true });
      fs.renameSync(`${directory}-gone`, directory);
    }
  }

  get subject(): Subject {
    const { driver, primary, faults } = this;
    const acknowledged = join(faults.root, "process", "acknowledged");
    this.#subject ??= new Subject({ driver, primary, acknowledged }, faults.env);
    return this.#subject;
  }

  /** A new process for what follows. */
  async restart(): Promise<void> {
    if (this.#subject) {
      this.#subject.kill();
      await this.#subject.ended;
    }
    this.#subject = null;
  }

  open(options: ReplicationOptions = {}): Promise<Reply | null> {
    const defaults = { replicas: [this.replica] };
    return this.subject.ask({
      do: "open",
      options: { ...defaults, ...this.#options, ...options },
    });
  }

  /** Opens, once a thread that hung has let go of the replica: until then it is locked. */
  async openWhenFree(options: ReplicationOptions = {}): Promise<Reply | null> {
    for (let i = 0; ; i++) {
      const reply = await this.open(options);
      if (reply?.error?.code !== "ERR_LOCKSTEP_LOCKED" || i === 100 || !this.hangs) return reply;
      await this.subject.ask({ do: "turn", milliseconds: 50 });
    }
  }

  close(): Promise<Reply | null> {
    return this.subject.ask({ do: "close" });
  }

  exec(sql: string): Promise<Reply | null> {
    return this.subject.ask({ do: "exec", sql });
  }

  /** Commits one row and keeps account of it. */
  async insert(bytes = 100): Promise<Reply | null> {
    const n = this.#next++;
    this.doubtful.add(n);
    const reply = await this.subject.ask({ do: "insert", n, bytes });
    if (reply && !reply.error) {
      this.doubtful.delete(n);
      this.acknowledged.add(n);
    }
    return reply;
  }

  /** Opened, with a table and three rows on both sides. */
  async begin(options: ReplicationOptions = {}): Promise<void> {
    ok(await this.open(options));
    ok(await this.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)"));
    for (let i = 0; i < 3; i++) ok(await this.insert());
  }

  /** A row that was refused before SQL ran is not even doubtful. */
  forget(n: number): void {
    this.doubtful.delete(n);
  }

  /** Is every acknowledged row in this copy, opened alone and without Lockstep? */
  holdsAcknowledged(copy: string): void {
    const place = fs.mkdtempSync(join(this.#scratch, "alone-"));
    const file = join(place, basename(copy));
    for (const suffix of ["", "-wal"]) {
      if (fs.existsSync(copy + suffix)) fs.copyFileSync(copy + suffix, file + suffix);
    }
    this.#judge(file, copy.slice(this.faults.root.length + 1));
    fs.rmSync(place, { recursive: true });
  }

  /** The same, but before the first acknowledgement a copy need not exist. */
  holdsAcknowledgedIfAny(copy: string): void {
    if (this.acknowledged.size > 0) this.holdsAcknowledged(copy);
  }

  /**
   * The fault is gone: opening brings the copies together, in the same process if it lives; they
   * take a commit, close, and are then equal byte for byte, with nothing left beside them.
   */
  async recovers(options: ReplicationOptions = {}): Promise<void> {
    this.faults.set();
    ok(await this.openWhenFree(options));
    const before = this.doubtful.size;
    if (this.acknowledged.size > 0) ok(await this.insert());
    assert.equal(this.doubtful.size, before);
    ok(await this.close());
    await this.atRest();
  }

  /** Both are closed: equal, complete, alone. */
  async atRest(): Promise<void> {
    for (const copy of [this.primary, this.replica]) {
      const names = fs
        .readdirSync(join(copy, ".."))
        .filter((name) => !/set-aside|-lockstep-sums$/.test(name));
      const expected = [basename(copy), `${basename(copy)}-lockstep`];
      assert.deepEqual(names.sort(), expected, `what is left beside ${copy}`);
      assert.deepEqual(wrongSums(copy), [], copy);
    }
    const same = fs.readFileSync(this.primary).equals(fs.readFileSync(this.replica));
    assert.ok(same, "the closed copies are equal byte for byte");
    this.holdsAcknowledged(this.primary);
  }

  /** What the record beside a copy says, as whoever opens it next will read it. */
  recordOf(copy: string): SidecarState {
    const place = fs.mkdtempSync(join(this.#scratch, "record-"));
    const file = join(place, "record");
    for (const suffix of ["", "-journal"]) {
      const path = `${copy}-lockstep${suffix}`;
      if (fs.existsSync(path)) fs.copyFileSync(path, file + suffix);
    }
    const connection = loadDriver("node:sqlite").open(file);
    const record = readSnapshot(connection, readAmendment(copy));
    connection.close();
    assert.ok(record, `${copy} has a record`);
    return record.state;
  }

  /** Sets the rules, which end in a kill, and lives until then. */
  async dies(rule: Rule, live: () => Promise<unknown>): Promise<void> {
    this.faults.set({ ...rule, does: "killgroup" });
    await live();
    assert.equal(await this.subject.ask({ do: "turn", milliseconds: 0 }), null, "it was killed");
    await this.restart();
    this.faults.set();
  }

  /** What the processes did to files since the record was last cleared. */
  record(): Call[] {
    return this.faults.record();
  }

  #judge(file: string, name: string): void {
    const db = new DatabaseSync(file);
    try {
      const [check] = db.prepare("PRAGMA integrity_check").all();
      assert.deepEqual({ ...check }, { integrity_check: "ok" }, name);
      const table = db.prepare("SELECT 1 FROM sqlite_schema WHERE name='t'").all().length > 0;
      const rows = table
        ? db
            .prepare("SELECT n FROM t")
            .all()
            .map((row) => Number(row["n"]))
        : [];
      const found = new Set(rows);
      const missing = [...this.acknowledged].filter((n) => !found.has(n));
      assert.deepEqual(missing, [], `acknowledged, but not in ${name}`);
      const foreign = [...found].filter((n) => !this.acknowledged.has(n) && !this.doubtful.has(n));
      assert.deepEqual(foreign, [], `never written, but in ${name}`);
    } finally {
      db.close();
    }
  }
}

/** The command was done. */
export function ok(reply: Reply | null): Reply {
  assert.ok(reply, "the process lives");
  assert.ok(!reply.error, reply.error?.message ?? "");
  return reply;
}

/** The command failed with this code. */
export function failed(reply: Reply | null, code: string): Reply {
  assert.ok(reply, "the process lives");
  assert.equal(reply.error?.code, `ERR_LOCKSTEP_${code}`);
  return reply;
}
