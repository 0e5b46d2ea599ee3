/** A stream that no commit waits for: it never lacks for good what it lacks for a while, and holds nobody up. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync as Plain } from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isAsynchronous, waitedFor } from "../../src/address.ts";
import type { DatabaseSync, ReplicationOptions } from "../../src/index.ts";
import { readOptions } from "../../src/options.ts";
import { prometheusText } from "../../src/serve/prometheus.ts";
import { Recorder } from "../../src/serve/recorder.ts";
import { snapshotOf } from "../../src/serve/snapshot.ts";
import { follow } from "../../src/standby/follow.ts";
import { promote } from "../../src/standby/promote.ts";
import { Archive } from "../../src/stream/archive.ts";
import { Random } from "../crash/random.ts";
import { failed, ok, TIMEOUT_MS } from "../faults/pair.ts";
import { type Rule, skip } from "../faults/shim.ts";
import { runs, seed } from "../support/seed.ts";
import { Faulty } from "./faulty.ts";
import { caughtUp as allCaughtUp, images, loses } from "./lagging.ts";
import { materialize, Streamed } from "./streamed.ts";

const WRITER = path.join(path.dirname(fileURLToPath(import.meta.url)), "writer.ts");

/** With a file replica that is waited for, and an archive that is not. */
class Both extends Streamed {
  static override async make(t: TestContext): Promise<Both> {
    const { root, address } = await Streamed.make(t, "?async=1");
    return new Both(root, address);
  }

  get file(): string {
    return path.join(this.root, "file.db");
  }

  get replicas(): string[] {
    return [this.file, this.address];
  }

  override open(options: ReplicationOptions = {}): DatabaseSync {
    return super.open({ replicas: this.replicas, ...options });
  }

  /** As `life`, with the time that it takes to come along. */
  async longLife(use: (db: DatabaseSync) => void, options: ReplicationOptions = {}): Promise<void> {
    const db = this.open(options);
    use(db);
    await caughtUp(db);
    db.close();
    await this.assertEqual();
  }

  override async assertEqual(): Promise<void> {
    await super.assertEqual();
    assert.ok(fs.readFileSync(this.file).equals(fs.readFileSync(this.primary)), "the file, too");
  }
}

const archiveOf = (db: DatabaseSync) => {
  const [, archive] = db.replication?.status.replicas ?? [];
  return archive as NonNullable<typeof archive>;
};

async function caughtUp(db: DatabaseSync): Promise<void> {
  await db.replication?.durable();
  await allCaughtUp(db);
}

describe("an asynchronous stream follows the primary", () => {
  for (const durability of ["commit", "barrier"] as const) {
    test(`over generations and openings, and a transaction larger than all windows, ${durability}`, async (t) => {
      const both = await Both.make(t);
      for (let life = 0; life < 3; life++) {
        await both.longLife(
          (db) => {
            both.put(db, 200, 3000);
            both.put(db, 1, 9_000_000);
            both.put(db, 20, 3000);
          },
          { checkpointBytes: 100_000, durability },
        );
      }
      const said = await both.messages();
      assert.equal(said.filter((is) => is === "installed").length, 1, "one image is enough");
    });
  }

  test("its lag is shown, that it is asynchronous as well, and it goes by itself", async (t) => {
    const both = await Both.make(t);
    const db = both.open();
    const { replication } = db;
    assert.ok(replication);
    both.put(db, 5);
    while (archiveOf(db).state !== "mirroring") await delay(5);
    both.put(db, 1, 500_000);
    assert.ok(archiveOf(db).lag > 100, "what was just committed is on its way at best");
    assert.equal(replication.status.replicas[0]?.lag, 0);
    assert.ok((replication.metrics.replicas[1]?.lag.seconds ?? 0) > 0);
    const snapshot = snapshotOf(replication, new Recorder(replication));
    assert.deepEqual(
      snapshot.replicas.map(({ asynchronous }) => asynchronous),
      [false, true],
    );
    assert.ok(snapshot.healthy);
    const text = prometheusText([{ snapshot, metrics: replication.metrics, rot: 0, healed: 0 }]);
    assert.match(text, /lockstep_replica_asynchronous\{.*archive.*\} 1/);
    while (archiveOf(db).lag > 0) await delay(5);
    assert.equal(archiveOf(db).position, replication.status.primary.position);
    assert.equal(replication.metrics.replicas[1]?.lag.seconds, 0);
    db.close();
    await both.assertEqual();
  });

  test("it begins, with an image, while commits follow one another without a pause", async (t) => {
    const both = await Both.make(t);
    const db = both.open();
    for (const began = performance.now(); archiveOf(db).state !== "mirroring"; both.put(db)) {
      assert.ok(performance.now() - began < PATIENCE_MS, "it does not begin");
    }
    both.put(db, 100);
    await caughtUp(db);
    db.close();
    await both.assertEqual();
  });

  test("images are made for it, and it is shortened", async (t) => {
    const both = await Both.make(t);
    const address = `${both.address}&imageBytes=300000&keep=0m`;
    const db = both.open({ replicas: [both.file, address], checkpointBytes: 100_000 });
    while (fs.readdirSync(path.join(both.archive, "snapshots")).length < 3) {
      both.put(db, 20, 3000);
      await delay(5);
    }
    while ((await both.ends()).first === 1) {
      both.put(db, 20, 3000);
      await delay(5);
    }
    db.close();
    await both.assertEqual();
  });
});

const PATIENCE_MS = 60_000;

/** This thread does nothing for so many milliseconds. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

function messagesIn(archive: string): number {
  return fs.readdirSync(path.join(archive, "log"), { recursive: true }).length;
}

const hang: Rule = { on: "sync", path: "other/", does: "hang" };

describe("its disk holds nobody up", { skip }, () => {
  for (const durability of ["commit", "barrier"] as const) {
    test(`it hangs, ${durability}: commits go on at once; it is let go, and comes back`, async (t) => {
      const faulty = await Faulty.make(t, { replicaTimeout: TIMEOUT_MS, durability });
      const { pair } = faulty;
      pair.faults.set(hang);
      let longest = 0;
      // More than the ring has room for.
      for (let i = 0; i < 30; i++) {
        longest = Math.max(longest, ok(await pair.insert(200_000)).milliseconds);
      }
      assert.ok(longest < TIMEOUT_MS, `a commit took ${longest} ms`);
      await faulty.until("detached");
      for (let i = 0; i < 30; i++) ok(await pair.insert(200_000));
      await faulty.comesBack();
    });
  }

  test("it hangs while the primary is closed: that waits for a second, and the next opening brings it along", async (t) => {
    const faulty = await Faulty.make(t, { replicaTimeout: TIMEOUT_MS });
    const { pair } = faulty;
    pair.faults.set(hang);
    ok(await pair.insert());
    const { milliseconds } = ok(await pair.close());
    assert.ok(milliseconds < TIMEOUT_MS * 0.9, `${milliseconds}`);
    await pair.atRest();
    pair.faults.set();
    await faulty.begin();
    ok(await pair.close());
    await faulty.assertEqual();
  });

  test("it hangs while the primary is opened: nobody waits", async (t) => {
    const faulty = await Faulty.make(t, { replicaTimeout: TIMEOUT_MS });
    const { pair } = faulty;
    ok(await pair.close());
    pair.faults.set({ on: "open", path: "other/", does: "hang" });
    assert.ok(ok(await pair.open(faulty.replicas)).milliseconds < TIMEOUT_MS * 0.9);
    ok(await pair.insert());
    await faulty.until("detached");
    await faulty.comesBack();
  });

  test("what the file replica may lack yet does not reach it", async (t) => {
    const faulty = await Faulty.make(t, { durability: "barrier" });
    const { pair } = faulty;
    pair.faults.set({ on: "sync", path: "replica/app.db-wal", does: "hang" });
    void pair.insert();
    await pair.faults.hanging();
    await delay(500); // several times as long as it takes otherwise
    await pair.restart();
    const made = `${pair.primary}-made`;
    await materialize(faulty.address, made);
    assert.equal(rowsOf(made), pair.acknowledged.size);
    fs.rmSync(made);
    pair.faults.set();
    await faulty.begin();
    ok(await pair.close());
    await faulty.assertEqual();
  });

  test("nor what it has not been handed yet", async (t) => {
    const both = await Both.make(t);
    const db = both.open({ durability: "barrier" });
    const { replication } = db;
    await caughtUp(db);
    // In one turn of the event loop: nothing is synced but what is asked for.
    const before = messagesIn(both.archive);
    both.put(db);
    replication?.durableSync();
    pause(20); // it is time to attend to the archive
    both.put(db);
    for (const began = performance.now(); messagesIn(both.archive) === before; pause(5)) {
      assert.ok(performance.now() - began < PATIENCE_MS, "what was asked for goes to it");
    }
    const place = fs.mkdtempSync(path.join(both.root, "seen-"));
    fs.cpSync(both.archive, path.join(place, "archive"), { recursive: true });
    await materialize(`archive:${place}/archive`, path.join(place, "made.db"));
    assert.equal(rowsOf(path.join(place, "made.db")), both.acknowledged - 1);
    await caughtUp(db);
    db.close();
    await both.assertEqual();
  });

  test("it is full, or reports errors: it is let go, with its code, and comes back", async (t) => {
    const faulty = await Faulty.make(t);
    for (const error of ["ENOSPC", "EIO"] as const) {
      faulty.pair.faults.set({ on: "write", path: "other/", does: { error } });
      await faulty.until("detached");
      faulty.pair.faults.set();
      await faulty.until("mirroring");
    }
    await faulty.comesBack();
  });

  test("it is behind by less than the log is kept for: the log stays, and has what it lacks", async (t) => {
    const faulty = await Faulty.make(t, { checkpointBytes: 100_000, replicaTimeout: 600_000 });
    const { pair } = faulty;
    pair.faults.set(hang);
    for (let i = 0; i < 60; i++) ok(await pair.insert(200_000));
    assert.ok(fs.statSync(`${pair.primary}-wal`).size > 6 << 20, "all but what was handed over");
    await faulty.comesBack();
    assert.equal(await images(faulty), 1, "the image that it began with");
  });

  test("it is further behind than the log is kept for: an image brings it back", async (t) => {
    const faulty = await Faulty.make(t, { replicaTimeout: 600_000 });
    const { pair } = faulty;
    pair.faults.set(hang);
    for (let i = 0; i < 8; i++) ok(await pair.insert(10_000_000));
    await faulty.until("detached");
    const logOf = (): number => fs.statSync(`${pair.primary}-wal`).size;
    assert.ok(logOf() > 64 << 20);
    await faulty.comesBack();
  });
});

test(`kill -9 at random instants, seed ${seed}`, async (t) => {
  const random = new Random(seed);
  const both = await Both.make(t);
  await both.longLife(() => {});
  for (let life = 0; life < runs(3); life++) {
    const { primary, replicas, acknowledged } = both;
    const child = spawn(
      process.execPath,
      [WRITER, primary, String(acknowledged + 1), ...replicas],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const wanted = acknowledged + 1 + random.below(200);
    for await (const line of createInterface(child.stdout)) {
      both.acknowledged = Number(line);
      if (both.acknowledged >= wanted) child.kill("SIGKILL");
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    assert.equal(child.signalCode, "SIGKILL", "it wrote until it was killed");

    const place = fs.mkdtempSync(path.join(both.root, "seen-"));
    for (const suffix of ["", "-wal"]) {
      fs.copyFileSync(`${both.file}${suffix}`, path.join(place, `file.db${suffix}`));
    }
    const inFile = rowsOf(path.join(place, "file.db"));
    assert.ok(inFile >= both.acknowledged, "the file has all that was acknowledged");
    const made = path.join(place, "made.db");
    await materialize(both.address, made);
    const inArchive = rowsOf(made);
    assert.ok(inArchive <= inFile, "the archive has a beginning of it");
    fs.rmSync(place, { recursive: true });

    await both.longLife((db) => {
      both.acknowledged = Number(db.prepare("SELECT max(n) AS n FROM t").get()?.["n"]);
      if (random.oneIn(2)) both.put(db, 1 + random.below(50), 3000);
    });
  }
  // A close that could not wait for it leaves it an image to take; but that is not the rule.
  const images = (await both.messages()).filter((is) => is === "installed").length;
  assert.ok(images <= runs(3), `what it lacked was in the log; ${images} images`);
});

/** Rows 1 to this, and no others. */
function rowsOf(file: string): number {
  const db = new Plain(file);
  const isThere = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 't'").get();
  const row = isThere && db.prepare("SELECT count(*) AS n, max(n) AS last FROM t").get();
  db.close();
  const { n, last } = (row ?? { n: 0, last: null }) as { n: number; last: number | null };
  assert.equal(n, last ?? 0, "none is missing in between");
  return n;
}

describe("what it does not count for", () => {
  test("a primary that is missing is not begun anew beside what it holds, nor restored from it", async (t) => {
    const both = await Both.make(t);
    await both.longLife((db) => both.put(db, 3));
    for (const copy of [both.primary, both.file]) {
      fs.rmSync(path.dirname(copy) === both.root ? copy : path.dirname(copy), { recursive: true });
    }
    fs.rmSync(`${both.file}-lockstep`);
    fs.mkdirSync(path.dirname(both.primary));
    const before = await both.ends();
    for (const restoreMissing of [false, true]) {
      assert.throws(() => both.open({ restoreMissing }), { code: "ERR_LOCKSTEP_PRIMARY_MISSING" });
    }
    assert.deepEqual(await both.ends(), before);
  });

  const unseen: Record<string, readonly [spoil: (faulty: Faulty) => void, code: string]> = {
    "is gone": [(faulty) => faulty.takeAway(), "REPLICA_GONE"],
    hangs: [
      ({ pair }) => pair.faults.set({ on: "open", path: "other/", does: "hang" }),
      "IN_DOUBT",
    ],
    "reports errors": [
      ({ pair }) => pair.faults.set({ on: "open", path: "other/", does: { error: "EIO" } }),
      "REPLICA_IO",
    ],
    "cannot be read": [
      ({ pair }) => pair.faults.set({ on: "open", path: "other/", does: { error: "EACCES" } }),
      "REPLICA_IO",
    ],
  };
  for (const [how, [spoil, code]] of Object.entries(unseen)) {
    test(`a primary that is missing is not begun beside one that ${how}`, { skip }, async (t) => {
      const faulty = await Faulty.make(t, { replicaTimeout: TIMEOUT_MS });
      const { pair } = faulty;
      ok(await pair.close());
      await pair.restart();
      for (const copy of [pair.primary, pair.replica]) loses(copy);
      spoil(faulty);
      failed(await pair.open(faulty.replicas), code);
      for (const copy of [pair.primary, pair.replica]) assert.ok(!fs.existsSync(copy), copy);
    });
  }

  test("a primary that is missing is restored from the file, and it goes along", async (t) => {
    const both = await Both.make(t);
    await both.longLife((db) => both.put(db, 3));
    fs.rmSync(path.dirname(both.primary), { recursive: true });
    fs.mkdirSync(path.dirname(both.primary));
    await both.longLife((db) => both.put(db, 3), { restoreMissing: true });
  });

  test("a copy of it was promoted: the old primary is fenced as soon as it sees that", async (t) => {
    const both = await Both.make(t);
    await both.longLife((db) => both.put(db, 3));
    const log = await Archive.open(both.archive);
    const dest = path.join(both.root, "standby.db");
    await follow(log, dest, { once: true });
    await promote(log, dest);
    await log.close();
    const db = both.open();
    const [error] = await once(db.replication as NonNullable<typeof db.replication>, "failed");
    assert.equal(error.code, "ERR_LOCKSTEP_FENCED");
    assert.throws(() => db.exec("SELECT 1"), { code: "ERR_LOCKSTEP_FENCED" });
    db.close();
  });

  test("copies: alone it is refused, unless the primary alone is enough", async (t) => {
    const both = await Both.make(t);
    const replicas = [both.address];
    const degrade = { replicas, onReplicaFailure: "degrade" } as const;
    for (const options of [{ replicas }, degrade, { ...degrade, minCopies: 2 }]) {
      assert.throws(() => both.open(options), { code: "ERR_LOCKSTEP_BAD_OPTION" });
    }
    const alone = new Streamed(both.root, both.address, "alone");
    for (let life = 0; life < 2; life++) {
      const db = alone.open({ ...degrade, minCopies: 1 });
      alone.put(db, 30);
      while (db.replication?.status.replicas[0]?.state !== "mirroring") await delay(5);
      db.close();
      await alone.assertEqual();
    }
    const named = { replicas: ["/a", "/b", "archive:/c?async=1"], onReplicaFailure: "degrade" };
    assert.equal(readOptions({ ...named, minCopies: 3 }, {})?.minCopies, 3);
    assert.throws(() => readOptions({ ...named, minCopies: 4 }, {}), /only 3 copies/);
    assert.equal(readOptions({ replicas: named.replicas }, {})?.minCopies, 3);
  });

  test("its address says so, and of an archive only", () => {
    assert.ok(isAsynchronous("archive:/a?keep=1d&async=1"));
    for (const other of ["archive:/a", "archive:/a?async=0", "/a?async=1"]) {
      assert.ok(!isAsynchronous(other), other);
    }
    assert.ok(!isAsynchronous(waitedFor("archive:/a?async=%31&keep=1d")));
    for (const wrong of ["archive:/a?async=yes", "nats://host/app?async=1"]) {
      assert.throws(() => isAsynchronous(wrong), { code: "ERR_LOCKSTEP_BAD_OPTION" }, wrong);
    }
  });
});
