/** What a copy is proven to hold: each rule of prove(), from both sides, on real files. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { type Copy, commitAt, describeCopy, realPath } from "../../src/lineage/describe.ts";
import { stampUnused } from "../../src/lineage/fingerprint.ts";
import type { Position } from "../../src/lineage/position.ts";
import type { SidecarState } from "../../src/lineage/sidecar.ts";
import { frameOffset } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";
import { at, STATE } from "../support/copies.ts";

const BASE = at(9, 9);

/** A copy of which everything is known: closed by `close`, then written by us alone. */
class Subject {
  readonly file: string;
  readonly wal: string;
  #db: DatabaseSync;
  state: SidecarState = STATE;

  constructor(t: TestContext) {
    this.file = path.join(scratch(t), "a.db");
    this.wal = `${this.file}-wal`;
    this.#db = new DatabaseSync(this.file);
    this.#db.exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)");
    t.after(() => this.#db.close());
    this.fold(BASE, "TRUNCATE").reopen();
  }

  /** Another connection: it has restarted no log yet. */
  reopen(): this {
    const next = new DatabaseSync(this.file);
    next.exec("PRAGMA wal_autocheckpoint=0");
    next.prepare("SELECT count(*) FROM t").get();
    this.#db.close(); // not the last one: the log stays
    this.#db = next;
    return this;
  }

  /** Commits; the log grows. */
  commit(times = 1): this {
    for (let i = 0; i < times; i++) this.#db.exec("INSERT INTO t VALUES(randomblob(100))");
    return this;
  }

  checkpoint(mode: string): this {
    this.#db.exec(`PRAGMA wal_checkpoint(${mode})`);
    return this;
  }

  /** Folds the log and records that the file holds this position. */
  fold(position: Position, mode = "RESTART"): this {
    this.checkpoint(mode);
    return this.with({ folded: { position, file: stampUnused(this.file) } });
  }

  with(change: Partial<SidecarState>): this {
    this.state = { ...this.state, ...change };
    return this;
  }

  /** The log's generation is on record, begun at `BASE`. */
  recorded(): this {
    const { salt1 = 0, salt2 = 0 } = scanLog(this.wal)?.header ?? {};
    return this.with({ generation: { salt1, salt2, base: BASE } });
  }

  /** Where the log ends. */
  get end(): Position {
    const scan = scanLog(this.wal);
    const { frame = 0, sum1 = 0, sum2 = 0 } = scan?.commits.at(-1) ?? {};
    const { salt1 = 0, salt2 = 0 } = scan?.header ?? {};
    return { timeline: 1, salt1, salt2, frame, sum1, sum2 };
  }

  describe(history: readonly Position[] = []): Copy {
    return describeCopy(this.file, { state: this.state, history });
  }

  assertProven(position: Position, base: Position | null): void {
    const copy = this.describe();
    assert.deepEqual(copy.position, position, copy.because);
    assert.deepEqual(copy.base, base);
  }

  assertUnproven(because: RegExp): void {
    const copy = this.describe();
    assert.equal(copy.position, null);
    assert.match(copy.because, because);
  }
}

test("a missing file and an empty one are missing, whatever lies beside them", (t) => {
  const file = path.join(scratch(t), "a.db");
  fs.writeFileSync(`${file}-wal`, "something");
  for (const make of [() => {}, () => fs.writeFileSync(file, "")]) {
    make();
    const copy = describeCopy(file, { state: STATE, history: [] });
    assert.deepEqual([copy.file, copy.log, copy.position], ["missing", null, null]);
  }
});

test("without a record nothing is proven; the log is seen all the same", (t) => {
  const subject = new Subject(t).commit(3);
  const copy = describeCopy(subject.file, null);
  assert.deepEqual([copy.file, copy.position, copy.state], ["present", null, null]);
  assert.equal(copy.log?.commits.length, 3);
  assert.equal(commitAt(copy, subject.end.frame)?.sum1, subject.end.sum1);
  assert.equal(commitAt(copy, 1000), null);
});

test("(1) no log, the file unchanged since it was folded", (t) => {
  const subject = new Subject(t);
  subject.assertProven(BASE, null);
  subject.with({ folded: null }).assertUnproven(/names no position/);
});

test("(1) no log, but the file was written since", (t) => {
  const subject = new Subject(t).commit().checkpoint("TRUNCATE");
  subject.assertUnproven(/written since/);
  // Nor is it known while a checkpoint of ours was under way: its log should be there.
  subject.with({ folding: true }).assertUnproven(/written since/);
});

test("(1) the same bytes under another inode or time are not the same file", (t) => {
  const subject = new Subject(t);
  const { mtime } = fs.statSync(subject.file);
  fs.utimesSync(subject.file, new Date(), new Date());
  subject.assertUnproven(/written since/);
  fs.utimesSync(subject.file, mtime, mtime);
});

test("(2) the log of a re-synchronisation leads where its record says", (t) => {
  const subject = new Subject(t).commit().recorded();
  const { salt1, salt2 } = subject.end;
  const to = at(5, 5);
  subject.with({ generation: null, resync: { salt1, salt2, to } }).assertProven(to, null);
  // Under other salts it is not that log.
  subject
    .with({ resync: { salt1, salt2: salt2 + 1, to }, folded: null })
    .assertUnproven(/another program/);
});

test("(3) the log of the generation on record: its last commit", (t) => {
  const subject = new Subject(t).commit(3).recorded();
  subject.assertProven(subject.end, BASE);
  subject.commit(2).assertProven(subject.end, BASE);
});

test("(3) a checkpoint of ours may have changed the file beneath", (t) => {
  const subject = new Subject(t).commit(3).recorded().with({ folding: true });
  subject.checkpoint("PASSIVE").assertProven(subject.end, BASE);
});

test("(3) a log left beside a file that was replaced", (t) => {
  const subject = new Subject(t);
  const old = fs.readFileSync(subject.file);
  subject.commit(3).recorded();
  fs.writeFileSync(subject.file, old);
  subject.assertUnproven(/another program beneath the log/);
});

test("(3) a log that lost frames which the file holds already", (t) => {
  const subject = new Subject(t).commit(3).recorded();
  const cut = frameOffset(subject.end.frame, 4096);
  subject.fold(subject.end);
  subject.assertProven(subject.end, BASE);
  fs.truncateSync(subject.wal, cut);
  subject.assertUnproven(/lost frames/);
});

test("(3) a torn tail only costs the tail", (t) => {
  const subject = new Subject(t).commit(3).recorded();
  const { end } = subject.commit();
  fs.truncateSync(subject.wal, frameOffset(end.frame + 1, 4096) - 1);
  assert.ok(subject.end.frame < end.frame);
  subject.assertProven(subject.end, BASE);
});

test("(4) a log that is folded whole, the next generation on record but not begun", (t) => {
  const subject = new Subject(t).commit(3);
  const { end } = subject.fold(subject.end);
  subject.with({ generation: { salt1: 1, salt2: 1, base: end } });
  subject.assertProven(end, null);
  fs.utimesSync(subject.file, new Date(), new Date());
  subject.assertUnproven(/another program/);
});

test("(5) a log begun since the file was folded, not on record yet", (t) => {
  const subject = new Subject(t).commit(2);
  subject.assertProven(subject.end, BASE); // a new log file: it counts no restarts
  const { end } = subject.recorded().fold(subject.end);
  subject.commit(); // the next generation in the same log file
  assert.notEqual(subject.end.salt2, end.salt2);
  subject.assertProven(subject.end, end);
});

test("(5) not if a generation lies in between", (t) => {
  const subject = new Subject(t).commit(2).recorded();
  subject.fold(subject.end);
  subject.commit().checkpoint("RESTART").commit();
  const { folded } = subject.state;
  // Even if the file looked unchanged: the salts have gone two steps on.
  subject.with({ folded: folded && { ...folded, file: stampUnused(subject.file) } });
  subject.assertUnproven(/another program/);
});

test("(5) not if the file was written since", (t) => {
  const subject = new Subject(t).commit(2).checkpoint("PASSIVE");
  subject.assertUnproven(/another program/);
});

test("(5) not if the log is an old one put back beside the file", (t) => {
  const subject = new Subject(t).commit(2).recorded();
  const stale = fs.readFileSync(subject.wal);
  const past = subject.end;
  subject.fold(past).commit(3).recorded();
  const { end } = subject;
  subject.fold(end);
  fs.writeFileSync(subject.wal, stale);
  const copy = subject.describe([BASE, past]);
  assert.equal(copy.position, null, "SQLite would replay it over the newer file");
});

test("one file has one name", (t) => {
  const directory = fs.realpathSync(scratch(t));
  const file = path.join(directory, "a.db");
  fs.mkdirSync(path.join(directory, "sub"));
  fs.symlinkSync(directory, path.join(directory, "sub", "up"));
  fs.symlinkSync(file, path.join(directory, "link"));
  const names = [file, path.join(directory, "sub", "up", "a.db"), path.join(directory, "link")];
  for (const make of [() => {}, () => fs.writeFileSync(file, "x")]) {
    make();
    for (const name of names) assert.equal(realPath(name), file);
  }
});
