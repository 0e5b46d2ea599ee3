/** A primary whose replica is a stream: what is acknowledged is in it, and a start never goes the wrong way. */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { masked, streamName } from "../../src/address.ts";
import { createArchive } from "../../src/stream/archive.ts";
import { copyDirectory, runSql } from "../support/files.ts";
import { Streamed } from "./streamed.ts";

const LARGE =
  "WITH RECURSIVE c(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM c WHERE n < 12) INSERT INTO large SELECT randomblob(1000000) FROM c";

describe("a stream leads to the primary", () => {
  test("over many commits, generations and openings", async (t) => {
    const streamed = await Streamed.make(t);
    for (let life = 0; life < 3; life++) {
      await streamed.life((db) => streamed.put(db, 60, 3000), { checkpointBytes: 100_000 });
    }
    const said = await streamed.messages();
    assert.equal(said.filter((is) => is === "installed").length, 1, "one image is enough");
    assert.ok(!said.includes("void"));
  });

  test("a transaction that is larger than the ring", async (t) => {
    const streamed = await Streamed.make(t);
    await streamed.life((db) => {
      db.exec("CREATE TABLE large(data BLOB)");
      db.exec(LARGE);
      streamed.put(db);
    });
    assert.ok((await streamed.messages()).includes("piece"));
  });

  test("a database that was there before, in the middle of a log", async (t) => {
    const streamed = await Streamed.make(t);
    const file = path.join(streamed.root, "file.db");
    const alone = streamed.open({ replicas: [file] });
    streamed.put(alone, 20);
    const crashed = streamed.clone("crashed");
    alone.close();
    assert.ok(fs.statSync(`${crashed.primary}-wal`).size > 0);
    await crashed.life((db) => crashed.put(db, 20));
    assert.ok((await crashed.messages()).includes("installed"));
    await crashed.life((db) => crashed.put(db, 20));
  });

  test("with durability barrier, and a file replica beside it", async (t) => {
    const streamed = await Streamed.make(t);
    const file = path.join(streamed.root, "file.db");
    const replicas = [file, streamed.address];
    const db = streamed.open({ replicas, durability: "barrier" });
    for (let i = 0; i < 20; i++) {
      streamed.put(db, 10);
      await db.replication?.durable();
    }
    db.close();
    await streamed.assertEqual();
    assert.ok(fs.readFileSync(file).equals(fs.readFileSync(streamed.primary)));
    const said = await streamed.messages();
    assert.ok(said.length < 60, `group commit: ${said.length} messages for 200 commits`);
  });

  test("sealed, when its address names keys", async (t) => {
    const keys = path.join(fs.realpathSync("/tmp"), `lockstep-keys-${process.pid}`);
    t.after(() => fs.rmSync(keys, { force: true }));
    fs.writeFileSync(keys, `1:${"ab".repeat(32)}\n`);
    const streamed = await Streamed.make(t, `?keys=${keys}`);
    await streamed.life((db) => {
      db.exec("CREATE TABLE secret(text)");
      db.exec("INSERT INTO secret VALUES('a very private remark')");
      streamed.put(db, 3);
    });
    for (const name of fs.readdirSync(streamed.archive, { recursive: true })) {
      const file = path.join(streamed.archive, String(name));
      if (!fs.statSync(file).isFile()) continue;
      assert.ok(!fs.readFileSync(file).includes("private remark"), file);
    }
  });
});

test("images are made while it is written, and what is older than is to be kept is removed", async (t) => {
  const streamed = await Streamed.make(t, "?imageBytes=300000&keep=0m");
  const db = streamed.open({ checkpointBytes: 50_000 });
  const deadline = Date.now() + 60_000;
  let first = 1;
  for (let rounds = 0; first < 200; rounds++) {
    assert.ok(Date.now() < deadline, `the stream was not shortened in ${rounds} rounds`);
    streamed.put(db, 20, 3000);
    await setImmediate();
    first = (await streamed.ends()).first;
  }
  db.close();
  await streamed.assertEqual();
  const said = await streamed.messages();
  assert.ok(said.length < (await streamed.ends()).last, "only what is left was read");
  assert.ok(fs.readdirSync(path.join(streamed.archive, "snapshots")).length < 6);
  await streamed.life((again) => streamed.put(again, 3));
});

describe("a start with a stream", () => {
  test("the primary lost its last commits: it is rolled forward", async (t) => {
    const streamed = await Streamed.make(t);
    const db = streamed.open();
    streamed.put(db, 5);
    const before = streamed.clone("before");
    streamed.put(db, 5);
    const end = db.replication?.status.primary.position;
    const log = fs.readdirSync(path.join(streamed.archive, "log", "000000")).length;
    copyDirectory(streamed.archive, path.join(streamed.root, "archive-then"));
    db.close();
    fs.rmSync(streamed.archive, { recursive: true });
    fs.renameSync(path.join(streamed.root, "archive-then"), streamed.archive);
    assert.equal(fs.readdirSync(path.join(streamed.archive, "log", "000000")).length, log);
    before.acknowledged = streamed.acknowledged;
    const again = before.open();
    assert.equal(again.replication?.status.primary.position.split("/")[2], end?.split("/")[2]);
    again.close();
    assert.ok(!fs.existsSync(`${before.primary}-lockstep-stream`), "nothing is left beside it");
    await before.assertEqual();
  });

  test("a primary that is an older state is refused", async (t) => {
    const streamed = await Streamed.make(t);
    await streamed.life((db) => streamed.put(db, 5));
    const old = streamed.clone("old");
    await streamed.life((db) => streamed.put(db, 5));
    await streamed.life((db) => streamed.put(db, 5));
    const { length } = await streamed.messages();
    assert.throws(() => old.open(), { code: "ERR_LOCKSTEP_PRIMARY_STALE" });
    assert.equal((await streamed.messages()).length, length, "nothing was written to it");
  });

  test("a stream of another database is refused", async (t) => {
    const streamed = await Streamed.make(t);
    await streamed.life((db) => streamed.put(db));
    const other = new Streamed(streamed.root, streamed.address, "other");
    runSql(other.primary, "CREATE TABLE t(n INTEGER PRIMARY KEY, data BLOB)");
    assert.throws(() => other.open(), { code: "ERR_LOCKSTEP_REPLICA_UNKNOWN" });
  });

  test("a primary that is missing is not made anew over it, and restored by the command", async (t) => {
    const streamed = await Streamed.make(t);
    await streamed.life((db) => streamed.put(db, 5));
    fs.rmSync(path.dirname(streamed.primary), { recursive: true });
    fs.mkdirSync(path.dirname(streamed.primary));
    for (const restoreMissing of [false, true]) {
      assert.throws(() => streamed.open({ restoreMissing }), {
        code: "ERR_LOCKSTEP_PRIMARY_MISSING",
        next: new RegExp(`lockstep restore ${streamed.address} ${streamed.primary}`),
      });
    }
    assert.ok(!fs.existsSync(streamed.primary));
  });

  test("a stream that is not there is not made", async (t) => {
    const streamed = await Streamed.make(t);
    fs.rmSync(streamed.archive, { recursive: true });
    assert.throws(() => streamed.open(), { code: "ERR_LOCKSTEP_REPLICA_GONE" });
    assert.ok(!fs.existsSync(streamed.archive));
  });

  test("a primary that went on without it for longer than its log: a new image", async (t) => {
    const streamed = await Streamed.make(t);
    await streamed.life((db) => streamed.put(db, 5));
    const file = path.join(streamed.root, "file.db");
    for (let i = 0; i < 3; i++) {
      const alone = streamed.open({ replicas: [file] });
      streamed.put(alone, 5);
      alone.close();
    }
    await streamed.life((db) => streamed.put(db, 5));
    const said = await streamed.messages();
    assert.equal(said.filter((is) => is === "installed").length, 2);
  });
});

describe("a stream that fails", () => {
  test("another primary has opened it: the old one's next commit is fenced", async (t) => {
    const streamed = await Streamed.make(t);
    const db = streamed.open();
    streamed.put(db, 3);
    const clone = streamed.clone("clone");
    const second = clone.open();
    clone.put(second, 3);
    assert.throws(() => streamed.put(db), { code: "ERR_LOCKSTEP_FENCED" });
    assert.throws(() => db.exec("SELECT 1"), { code: "ERR_LOCKSTEP_FENCED" });
    db.close();
    clone.put(second, 3);
    second.close();
    await clone.assertEqual();
  });

  test("its disk is gone: nothing more is acknowledged, and a reopen brings it up to date", async (t) => {
    const streamed = await Streamed.make(t);
    const db = streamed.open();
    streamed.put(db, 3);
    fs.renameSync(streamed.archive, `${streamed.archive}-away`);
    assert.throws(() => streamed.put(db), { code: "ERR_LOCKSTEP_REPLICA_GONE" });
    db.close();
    fs.renameSync(`${streamed.archive}-away`, streamed.archive);
    await streamed.life((again) => streamed.put(again, 0));
  });

  test("with degrade commits go on without it, and it comes back", async (t) => {
    const streamed = await Streamed.make(t);
    const file = path.join(streamed.root, "file.db");
    const replicas = [file, streamed.address];
    const db = streamed.open({ replicas, onReplicaFailure: "degrade", checkpointBytes: 50_000 });
    streamed.put(db, 3);
    fs.renameSync(streamed.archive, `${streamed.archive}-away`);
    streamed.put(db, 60, 3000);
    const states = db.replication?.status.replicas.map(({ state }) => state);
    assert.deepEqual(states, ["mirroring", "detached"]);
    const { replication } = db;
    assert.ok(replication);
    const rejoined = once(replication as never, "rejoined");
    fs.renameSync(`${streamed.archive}-away`, streamed.archive);
    await rejoined;
    streamed.put(db, 3);
    db.close();
    await streamed.assertEqual();
  });
});

test("a stream that was put back to an older state is noticed", async (t) => {
  const streamed = await Streamed.make(t);
  const db = streamed.open();
  streamed.put(db, 3);
  copyDirectory(streamed.archive, `${streamed.archive}-then`);
  streamed.put(db, 3);
  fs.rmSync(streamed.archive, { recursive: true });
  fs.renameSync(`${streamed.archive}-then`, streamed.archive);
  assert.throws(() => streamed.put(db), { code: "ERR_LOCKSTEP_REWOUND" });
  db.close();
});

test("the same while the primary was closed, and nothing is written to it", async (t) => {
  const streamed = await Streamed.make(t);
  await streamed.life((db) => streamed.put(db, 3));
  copyDirectory(streamed.archive, `${streamed.archive}-then`);
  await streamed.life((db) => streamed.put(db, 3));
  fs.rmSync(streamed.archive, { recursive: true });
  fs.renameSync(`${streamed.archive}-then`, streamed.archive);
  const { last } = await streamed.ends();
  assert.throws(() => streamed.open(), { code: "ERR_LOCKSTEP_REWOUND" });
  assert.equal((await streamed.ends()).last, last);
});

test("one that was made anew, and is empty, begins with a whole image", async (t) => {
  const streamed = await Streamed.make(t);
  await streamed.life((db) => streamed.put(db, 3));
  fs.rmSync(streamed.archive, { recursive: true });
  await createArchive(streamed.archive);
  await streamed.life((db) => streamed.put(db, 3));
});

describe("what a hostile reader of the sources found", () => {
  test("a sealed stream is not gone on with without its keys, with others, nor an open one with keys", async (t) => {
    const directory = fs.realpathSync("/tmp");
    const [keys, others] = ["ab", "cd"].map((byte) => {
      const file = path.join(directory, `lockstep-keys-${byte}-${process.pid}`);
      t.after(() => fs.rmSync(file, { force: true }));
      fs.writeFileSync(file, `1:${byte.repeat(32)}\n`);
      return file;
    });
    const sealed = await Streamed.make(t, `?keys=${keys}`);
    await sealed.life((db) => sealed.put(db, 3));
    const { last } = await sealed.ends();
    const plain = sealed.address.replace(/\?.*/, "");
    for (const address of [plain, `${plain}?keys=${others}`]) {
      assert.throws(() => sealed.open({ replicas: [address] }), {
        code: /ERR_LOCKSTEP_(BAD_OPTION|REPLICA_CHANGED)/,
      });
    }
    assert.equal((await sealed.ends()).last, last, "nothing was written");
    await sealed.life((db) => sealed.put(db, 3));
    const open = await Streamed.make(t);
    await open.life((db) => open.put(db, 3));
    assert.throws(() => open.open({ replicas: [`${open.address}?keys=${keys}`] }), {
      code: "ERR_LOCKSTEP_REPLICA_CHANGED",
    });
  });

  test("a setting that is not known, given twice or empty is refused, and not what it says", async (t) => {
    const streamed = await Streamed.make(t);
    for (const settings of ["key=/secret", "keys=/a&keys=/secret", "keep=", "keys=%zz"]) {
      assert.throws(
        () => streamed.open({ replicas: [`${streamed.address}?${settings}`] }),
        (error: Error & { code?: string }) =>
          error.code === "ERR_LOCKSTEP_BAD_OPTION" && !/secret/.test(error.message),
      );
    }
  });

  test("one that was made anew is taken also if the first try to begin it is cut off", async (t) => {
    const streamed = await Streamed.make(t);
    await streamed.life((db) => streamed.put(db, 5));
    fs.rmSync(streamed.archive, { recursive: true });
    await createArchive(streamed.archive);
    fs.rmSync(path.join(streamed.archive, "snapshots"), { recursive: true });
    assert.throws(() => streamed.open()); // the image cannot be kept
    assert.ok((await streamed.ends()).last > 0, "it had begun");
    fs.mkdirSync(path.join(streamed.archive, "snapshots"));
    await streamed.life((db) => streamed.put(db, 3));
  });

  test("what an address shows of itself", () => {
    const shown = {
      "nats://u:p@h,i:1/db?system=a:b": "nats://h:4222,i:1/db",
      "tls://token@h/db": "nats://h:4222/db",
      "nats://app:hunter?2@h/db": "nats://…",
      "nats://a:b/c?d@h/n": "nats://…",
      "nats://tok?en@h/db": "nats://…",
      "archive:/a/b?keys=/k": "archive:/a/b",
    };
    for (const [address, name] of Object.entries(shown)) assert.equal(streamName(address), name);
    for (const text of ["['nats://u:pa\\'ss@h/db']", "nat://u:p?x@h/db?system=s:p"]) {
      assert.doesNotMatch(masked(text), /pa|ss@|u:|s:p/);
    }
  });
});
