// Goal: verify says "identical" of equal databases, whatever state they lie in, and of no others;
//   and it leaves both as they were.
// Method: SQLite makes the databases; canaries damage one in each way that a disk can.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { codes, type LockstepError } from "../src/errors.ts";
import { verify } from "../src/verify.ts";
import { frameOffset, frameSize } from "../src/wal/format.ts";
import { compareImages, lockPage } from "../src/wal/image.ts";
import { contentsOf, scratch } from "./scratch.ts";

/** A database with two tables and an index, copied while it is open: `log` keeps its log. */
function pair(
  t: TestContext,
  { pageSize = 4096, log = false, mode = "wal" } = {},
): { a: string; b: string; directory: string } {
  const directory = scratch(t);
  const original = path.join(directory, "original.db");
  const db = new DatabaseSync(original);
  db.exec(`PRAGMA page_size=${pageSize}; PRAGMA journal_mode=${mode}`);
  db.exec("CREATE TABLE account(id INTEGER PRIMARY KEY, owner TEXT, balance INTEGER)");
  db.exec("CREATE INDEX account_owner ON account(owner); CREATE TABLE note(text TEXT)");
  const fill = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO account SELECT i, 'owner ' || (i * 7919 % 2000), i FROM n`;
  db.exec(fill);
  if (mode === "wal") db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  db.exec("UPDATE account SET balance = balance + 1; INSERT INTO note VALUES('seen')");
  if (mode === "wal" && !log) db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  const paths = ["a", "b"].map((name) => {
    fs.mkdirSync(path.join(directory, name));
    const copy = path.join(directory, name, `${name}.db`);
    fs.copyFileSync(original, copy);
    if (log) fs.copyFileSync(`${original}-wal`, `${copy}-wal`);
    return copy;
  });
  db.close();
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${original}${suffix}`, { force: true });
  return { a: paths[0] as string, b: paths[1] as string, directory };
}

function pagesOf(file: string, owner: string): number[] {
  const db = new DatabaseSync(`${pathToFileURL(file).href}?immutable=1`, { readOnly: true });
  const rows = db.prepare("SELECT pageno FROM dbstat WHERE name=? ORDER BY 1").all(owner);
  db.close();
  return rows.map((row) => Number(row["pageno"]));
}

function flip(file: string, at: number): void {
  const fd = fs.openSync(file, "r+");
  const byte = Buffer.alloc(1);
  fs.readSync(fd, byte, 0, 1, at);
  byte[0] = (byte[0] as number) ^ 0x10;
  fs.writeSync(fd, byte, 0, 1, at);
  fs.closeSync(fd);
}

const failsWith = (code: string) => (error: LockstepError) => error.code === code;

describe("equal", () => {
  for (const pageSize of [512, 1024, 4096, 65536]) {
    for (const log of [false, true]) {
      test(`page size ${pageSize}, ${log ? "with a log" : "no log"}`, async (t) => {
        const { a, b } = pair(t, { pageSize, log });
        const report = await verify(a, b);
        assert.equal(report.identical, true);
        assert.deepEqual(report.different, []);
        assert.deepEqual(report.integrity, { a: "ok", b: "ok" });
        assert.equal(report.a.pageSize, pageSize);
        assert.ok(report.pages > 3, `pages ${report.pages}`);
      });
    }
  }

  test("in rollback journal mode", async (t) => {
    const { a, b } = pair(t, { mode: "delete" });
    assert.equal((await verify(a, b)).identical, true);
  });

  test("one has folded its log, the other has not", async (t) => {
    const { a, b } = pair(t, { log: true });
    const db = new DatabaseSync(a);
    db.prepare("SELECT * FROM note").get();
    db.close(); // the last one folds and unlinks
    assert.equal(fs.existsSync(`${a}-wal`), false);
    assert.equal((await verify(a, b)).identical, true);
  });

  test("both empty", async (t) => {
    const directory = scratch(t);
    const [a, b] = [path.join(directory, "a"), path.join(directory, "b")];
    fs.writeFileSync(a, "");
    fs.writeFileSync(b, "");
    const report = await verify(a, b);
    assert.deepEqual([report.identical, report.pages], [true, 0]);
  });

  test("equal damage is identical, and integrity_check tells", async (t) => {
    const { a, b } = pair(t);
    const page = pagesOf(a, "account_owner")[1] as number;
    for (const file of [a, b]) flip(file, (page - 1) * 4096 + 3);
    const report = await verify(a, b);
    assert.equal(report.identical, true);
    assert.notEqual(report.integrity.a, "ok");
    assert.equal(report.integrity.b, report.integrity.a);
  });
});

describe("canaries", () => {
  for (const owner of ["account", "account_owner", "note", "sqlite_schema"]) {
    test(`one flipped byte in a page of ${owner}`, async (t) => {
      const { a, b } = pair(t);
      const page = pagesOf(a, owner).at(-1) as number;
      flip(b, (page - 1) * 4096 + 4095);
      const report = await verify(a, b);
      assert.equal(report.identical, false);
      assert.deepEqual(report.different, [{ page, owner }]);
      assert.equal(report.integrity.a, "ok");
    });
  }

  test("one flipped byte in a frame of the log ends the log there", async (t) => {
    const { a, b } = pair(t, { log: true });
    const size = fs.statSync(`${b}-wal`).size;
    const frames = (size - 32) / frameSize(4096);
    flip(`${b}-wal`, frameOffset(frames, 4096) + 2000); // in the last transaction
    const report = await verify(a, b);
    assert.equal(report.identical, false);
    assert.deepEqual(
      report.different.map(({ owner }) => owner),
      ["note"],
    );
  });

  test("a missing page", async (t) => {
    const { a, b } = pair(t);
    const { size } = fs.statSync(b);
    fs.truncateSync(b, size - 4096);
    const report = await verify(a, b);
    assert.deepEqual(
      report.different.map(({ page }) => page),
      [size / 4096],
    );
    assert.notEqual(report.integrity.b, "ok");
  });

  test("two swapped pages", async (t) => {
    const { a, b } = pair(t);
    const [x, y] = pagesOf(a, "account").slice(-2) as [number, number];
    const bytes = fs.readFileSync(b);
    const page = (n: number): Buffer => bytes.subarray((n - 1) * 4096, n * 4096);
    const kept = Buffer.from(page(x));
    page(y).copy(bytes, (x - 1) * 4096);
    kept.copy(bytes, (y - 1) * 4096);
    fs.writeFileSync(b, bytes);
    const report = await verify(a, b);
    assert.deepEqual(
      report.different,
      [x, y].sort((p, q) => p - q).map((n) => ({ page: n, owner: "account" })),
    );
  });

  test("a copy that lacks the last transactions", async (t) => {
    const { a, b } = pair(t, { log: true });
    const frames = (fs.statSync(`${b}-wal`).size - 32) / frameSize(4096);
    fs.truncateSync(`${b}-wal`, frameOffset(frames, 4096)); // the last one has one frame
    assert.equal((await verify(a, b)).identical, false);
    assert.equal((await verify(b, a)).identical, false);
  });

  test("other page sizes", async (t) => {
    const { a } = pair(t);
    const { b } = pair(t, { pageSize: 1024 });
    const report = await verify(a, b);
    assert.equal(report.identical, false);
    assert.deepEqual(report.different, [{ page: 1, owner: "sqlite_schema" }]);
  });

  test("a free page has no owner", async (t) => {
    const { a, b } = pair(t);
    const page = pagesOf(a, "account").at(-1) as number;
    for (const file of [a, b]) {
      const db = new DatabaseSync(file);
      db.exec("DROP TABLE account");
      db.close();
    }
    flip(b, (page - 1) * 4096 + 2000);
    assert.deepEqual((await verify(a, b)).different, [{ page, owner: null }]);
  });

  test("the page at byte 1 GiB is not data, its neighbours are", (t) => {
    const directory = scratch(t);
    const lock = lockPage(65536);
    const [a, b] = ["a", "b"].map((name) => {
      const file = path.join(directory, name);
      const db = new DatabaseSync(file);
      db.exec("PRAGMA page_size=65536; CREATE TABLE t(x)");
      db.close();
      fs.truncateSync(file, (lock + 1) * 65536); // a sparse file; only its pages matter here
      const fd = fs.openSync(file, "r+");
      const size = Buffer.alloc(4);
      size.writeUInt32BE(lock + 1);
      fs.writeSync(fd, size, 0, 4, 28);
      fs.closeSync(fd);
      return file;
    }) as [string, string];
    for (const at of [lock - 1, lock]) {
      flip(b, at * 65536 - 1);
      flip(b, at * 65536);
    }
    assert.deepEqual(compareImages(a, b).different, [lock - 1, lock + 1]);
  });
});

describe("nothing is changed or left behind", () => {
  for (const [what, options, suffixes] of [
    ["a file alone", {}, []],
    ["a file and its log", { log: true }, []],
    ["a file and an empty log", {}, ["-wal"]],
    ["rollback journal mode", { mode: "delete" }, []],
  ] as const) {
    test(what, async (t) => {
      const { a, b } = pair(t, options);
      for (const suffix of suffixes) fs.writeFileSync(`${b}${suffix}`, "");
      const before = [contentsOf(path.dirname(a)), contentsOf(path.dirname(b))];
      assert.equal((await verify(a, b)).identical, true);
      assert.deepEqual([contentsOf(path.dirname(a)), contentsOf(path.dirname(b))], before);
    });
  }

  test("after a crash: a file, its log and a stale -shm", async (t) => {
    const { a, b } = pair(t, { log: true });
    fs.writeFileSync(`${b}-shm`, Buffer.alloc(32768));
    const log = fs.readFileSync(`${b}-wal`);
    assert.equal((await verify(a, b)).identical, true);
    assert.deepEqual(fs.readdirSync(path.dirname(b)), ["b.db", "b.db-shm", "b.db-wal"]);
    assert.deepEqual(fs.readFileSync(`${b}-wal`), log);
  });

  for (const [what, log, index] of [
    ["no log", false, null],
    ["with a log", true, () => Buffer.alloc(32768)],
    ["with a log and another time's -shm", true, indexOfOthers],
  ] as const) {
    const isRoot = process.getuid?.() === 0;
    const skip = process.platform === "win32" ? "needs POSIX modes" : false;
    test(`a copy on read-only ground, ${what}`, { skip }, (t) => {
      const { a, b, directory } = pair(t, { log });
      if (index) fs.writeFileSync(`${b}-shm`, index(t), { mode: 0o444 });
      const readable = [directory, path.dirname(a), path.dirname(b)];
      for (const each of readable) fs.chmodSync(each, 0o555);
      for (const each of [a, b]) fs.chmodSync(each, 0o444);
      // Permissions do not bind the superuser: look with the eyes of nobody.
      const script = `const { verify } = await import(${JSON.stringify(verifyModule)});
        console.log(JSON.stringify(await verify(...process.argv.slice(1))));`;
      const { stdout, stderr } = spawnSync(
        process.execPath,
        ["--input-type=module", "-e", script, a, b],
        { ...(isRoot ? { uid: 65534, gid: 65534 } : {}), cwd: "/", encoding: "utf8" },
      );
      for (const each of readable) fs.chmodSync(each, 0o755); // or it could not be removed
      if (isRoot && /EACCES/.test(stderr)) return t.skip("nobody cannot read this checkout");
      assert.ok(stdout, stderr);
      const report = JSON.parse(stdout);
      assert.equal(report.identical, true);
      assert.deepEqual(report.integrity, { a: "ok", b: "ok" });
    });
  }
});

/** Of a database with a log that is longer and of other salts. */
function indexOfOthers(t: TestContext): Buffer {
  const file = path.join(scratch(t), "others.db");
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)");
  db.exec("INSERT INTO t VALUES(zeroblob(1000000))");
  const index = fs.readFileSync(`${file}-shm`);
  db.close();
  return index;
}

const verifyModule = new URL("../src/verify.ts", import.meta.url).href;

describe("refusals", () => {
  test("a file that is no database: NOT_A_DATABASE", async (t) => {
    const { a, b } = pair(t);
    fs.writeFileSync(b, "SQLite format 2\0 and so on".padEnd(4096));
    await assert.rejects(verify(a, b), failsWith(codes.NOT_A_DATABASE));
  });

  test("no file: NOT_A_DATABASE", async (t) => {
    const { a, b } = pair(t);
    await assert.rejects(verify(a, `${b}.gone`), failsWith(codes.NOT_A_DATABASE));
  });

  test("one file under two names: BAD_OPTION", async (t) => {
    const { a, b } = pair(t);
    fs.rmSync(b);
    fs.symlinkSync(a, b);
    await assert.rejects(verify(a, b), failsWith(codes.BAD_OPTION));
  });

  test("a log of another page size: VERIFY", async (t) => {
    const { a, b } = pair(t);
    const other = pair(t, { pageSize: 1024, log: true });
    fs.copyFileSync(`${other.a}-wal`, `${b}-wal`);
    await assert.rejects(verify(a, b), failsWith(codes.VERIFY));
  });

  test("a hot journal: VERIFY", async (t) => {
    const { a, b } = pair(t, { mode: "delete" });
    const directory = scratch(t);
    const db = new DatabaseSync(b);
    db.exec("PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN; UPDATE account SET balance = 0");
    for (const suffix of ["", "-journal"]) {
      fs.copyFileSync(`${b}${suffix}`, path.join(directory, `b.db${suffix}`));
    }
    db.exec("ROLLBACK");
    db.close();
    await assert.rejects(verify(a, path.join(directory, "b.db")), failsWith(codes.VERIFY));
  });
});
