/** Rot that is healed while the copies are in use, and all that is not to be healed so. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { createInterface } from "node:readline";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { loadDriver } from "../../src/driver.ts";
import type { Healer } from "../../src/gate/heal.ts";
import { checksumOf, sumsPath } from "../../src/lineage/sums.ts";
import { lockPage } from "../../src/wal/image.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { openBelow } from "../support/descriptors.ts";
import { rot } from "../support/rot.ts";
import { type Db, type OpenOptions, Scene } from "../support/scene.ts";
import {
  CONTENT,
  contentElsewhere,
  contentOf,
  digestsOf,
  endsSound,
  filled,
  healed,
  PAGE,
  pagesOf,
  proposalFor,
  rotten,
  rottenInUse,
  scrubBytesPerSecond,
  takeAside,
} from "./healing.ts";

for (const driver of ["node:sqlite", "better-sqlite3"] as const) {
  for (const durability of ["commit", "barrier"] as const) {
    describe(`${driver}, ${durability}`, () => {
      for (const side of ["primary", "replica"] as const) {
        test(`pages of the ${side} are healed in one transaction, and kept aside`, async (t) => {
          const scene = Scene.make(t, { driver });
          const content = filled(scene);
          const [copy, from] =
            side === "primary" ? [scene.primary, scene.replica] : [scene.replica, scene.primary];
          rotten(copy, 5, 7, 8);
          const bad = pagesOf(copy, 5, 7, 8);
          const db = scene.open({ durability, scrubBytesPerSecond });
          // The application has them in its cache, as they are.
          const isRight = contentOf(db).every((row, i) => row === content[i]);
          assert.equal(isRight, side === "replica");
          const pages = await healed(db, 3);
          assert.deepEqual(pages, [
            [5, copy, from],
            [7, copy, from],
            [8, copy, from],
          ]);
          const { status } = db.hub.replication;
          assert.deepEqual([status.rot, status.healed, status.failure], [[], 3, null]);
          assert.deepEqual(contentOf(db), content);
          for (const each of scene.copies) assert.deepEqual(contentElsewhere(each), content);
          const transactions: number[][] = [];
          scanLog(`${scene.primary}-wal`, (_, found) => transactions.push([...found.keys()]));
          assert.deepEqual(transactions, [[1], [5, 7, 8]], "a log begun, and one transaction");
          assert.deepEqual(
            takeAside(copy),
            [5, 7, 8].map((page, i) => ({ page, bytes: bad[i] })),
          );
          db.put(1);
          await db.hub.replication.durable();
          await endsSound(db);
          const event = scene.sidecar(scene.primary).events.find(({ what }) => what === "healed");
          assert.match(
            event?.detail ?? "",
            new RegExp(`^rotten pages 5 7 8 of ${copy}, from ${from}`),
          );
        });
      }
    });
  }
}

test("rot that comes while the copies are in use, in two of three copies", async (t) => {
  const scene = Scene.make(t, { replicas: 2 });
  const content = filled(scene);
  const [first, second] = scene.replicas as [string, string];
  const proposal = proposalFor(scene.primary, second, 9);
  const db = scene.open();
  assert.deepEqual(contentOf(db), content);
  for (const copy of [scene.primary, first]) rottenInUse(copy, [9]);
  assert.equal((db.hub.healer as Healer).heal(proposal)?.length, 1);
  db.hub.gate();
  assert.deepEqual(contentOf(db), content);
  for (const copy of scene.copies) assert.deepEqual(contentElsewhere(copy), content);
  await endsSound(db);
});

test("commits and checkpoints go on meanwhile", async (t) => {
  const scene = Scene.make(t);
  filled(scene, 100);
  rotten(scene.replica, 50);
  rotten(scene.primary, 60);
  const db = scene.open({ scrubBytesPerSecond: 20e6, checkpointBytes: 300_000 });
  let isDone = false;
  void healed(db, 2).then(() => (isDone = true));
  for (let i = 0; !isDone || i < 200; i++) {
    db.native.exec("UPDATE t SET data = randomblob(length(data)) WHERE n > 90");
    db.hub.gate();
    await delay(1);
  }
  assert.ok(db.happened.includes("checkpoint"));
  assert.deepEqual(db.hub.replication.status.rot, []);
  await endsSound(db);
});

test("where each commit is folded at once", async (t) => {
  const scene = Scene.make(t);
  const content = filled(scene);
  rotten(scene.replica, 5);
  const db = scene.open({ scrubBytesPerSecond, checkpointBytes: 1 });
  await healed(db, 1);
  assert.deepEqual(contentOf(db), content);
  await endsSound(db);
});

describe("pages of every kind", () => {
  test("free pages, overflow pages and pointer maps", async (t) => {
    const scene = Scene.make(t);
    scene.life((db) => {
      db.exec("PRAGMA auto_vacuum=INCREMENTAL; VACUUM");
      db.put(5, 50_000);
      db.exec("DELETE FROM t WHERE n < 3");
      for (const n of [1, 2]) scene.acknowledged.delete(n);
    });
    const pages = fs.statSync(scene.primary).size / PAGE;
    const all = Array.from({ length: pages - 1 }, (_, i) => i + 2);
    for (const page of all) rot(page % 2 ? scene.primary : scene.replica, page, PAGE, 3000);
    const db = scene.open({ scrubBytesPerSecond });
    await healed(db, all.length);
    await endsSound(db);
  });

  for (const side of ["primary", "replica"] as const) {
    test(`page 1 of the ${side}`, async (t) => {
      const scene = Scene.make(t);
      const content = filled(scene);
      rot(scene[side], 1, PAGE, 80); // where SQLite does not look
      const db = scene.open({ scrubBytesPerSecond });
      const isHealed = healed(db, 1);
      const [found] = await once(db.hub.replication, "rot");
      assert.deepEqual(found, { copy: scene[side], page: 1, owner: "sqlite_schema" });
      // That of the primary may not be written as it is, to begin a log.
      if (side === "primary") db.exec("UPDATE t SET data = zeroblob(3000) WHERE n = 30");
      await isHealed;
      assert.deepEqual(contentOf(db).slice(0, 29), content.slice(0, 29));
      await endsSound(db);
    });
  }
});

describe("who reads meanwhile", () => {
  test("another program keeps what its transaction began with, and then sees the right page", async (t) => {
    const scene = Scene.make(t);
    const content = filled(scene);
    rotten(scene.primary, 5);
    const script = `
      const db = new (require("node:sqlite").DatabaseSync)(process.argv[1]);
      const tell = () => console.log(JSON.stringify(db.prepare(process.argv[2]).all()));
      require("node:readline").createInterface({ input: process.stdin }).on("line", (sql) => {
        if (sql) db.exec(sql); else tell();
      });`;
    const proposal = proposalFor(scene.primary, scene.replica, 5);
    const db = scene.open();
    const child = spawn(process.execPath, ["--no-warnings", "-e", script, scene.primary, CONTENT], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout });
    const ask = async (sql: string): Promise<unknown> => {
      const answer = once(lines, "line");
      child.stdin.write(`${sql}${sql && "\n"}\n`);
      return digestsOf(JSON.parse((await answer)[0]));
    };
    const before = await ask("BEGIN");
    assert.notDeepEqual(before, content);
    assert.equal((db.hub.healer as Healer).heal(proposal)?.length, 1);
    db.hub.gate();
    assert.deepEqual(await ask(""), before, "its snapshot");
    assert.deepEqual(await ask("COMMIT"), content);
    child.stdin.end();
    await once(child, "close");
    await endsSound(db);
  });

  test("the application's own transaction goes on, and may write", (t) => {
    const scene = Scene.make(t);
    filled(scene);
    const proposal = proposalFor(scene.replica, scene.primary, 5);
    const db = scene.open();
    const healer = db.hub.healer as Healer;
    db.native.exec("BEGIN");
    db.native.all("SELECT count(*) FROM t");
    assert.equal(healer.heal(proposal), null);
    db.native.exec("UPDATE t SET data = zeroblob(3000) WHERE n = 20");
    assert.equal(healer.heal(proposal), null);
    db.exec("COMMIT");
    assert.equal(healer.heal(proposal)?.length, 1);
    db.hub.gate();
    db.close();
  });
});

/** Opened with nothing rotten, and a proposal as if page 5 had. */
function proposed(t: TestContext, pages: readonly number[] = [5], options: OpenOptions = {}) {
  const scene = Scene.make(t);
  filled(scene);
  const proposal = proposalFor(scene.replica, scene.primary, ...pages);
  const db = scene.open(options);
  const healer = db.hub.healer as Healer;
  const position = (): string => db.hub.replication.status.primary.position;
  return { scene, proposal, db, healer, position };
}

describe("what does not hold any more is not healed", () => {
  test("the page was written since", (t) => {
    const { proposal, db, healer } = proposed(t);
    db.exec("UPDATE t SET data = zeroblob(3000)");
    const now = contentOf(db);
    assert.deepEqual(healer.heal(proposal), []);
    assert.deepEqual(contentOf(db), now);
    db.close();
  });

  test("the page was written since, and folded into the files", (t) => {
    const { proposal, db, healer } = proposed(t, [5], { checkpointBytes: 1 });
    db.exec("UPDATE t SET data = zeroblob(3000)");
    const now = contentOf(db);
    assert.deepEqual(healer.heal(proposal), []);
    db.exec("CREATE TABLE other (x)"); // in a log that has begun anew
    assert.deepEqual(healer.heal(proposal), []);
    assert.deepEqual(contentOf(db), now);
    db.close();
  });

  test("the page was written since, in a log of several blocks of the index", (t) => {
    const { proposal, db, healer } = proposed(t, [5, 7], { checkpointBytes: 1 << 30 });
    db.exec("CREATE TABLE big (data); INSERT INTO big VALUES (zeroblob(17000000))");
    const [five, seven] = proposal.pages.map((remedy) => ({ ...proposal, pages: [remedy] }));
    assert.ok(five && seven);
    assert.equal(healer.heal(five)?.length, 1);
    db.hub.gate();
    db.exec("UPDATE t SET data = zeroblob(3000)");
    const now = contentOf(db);
    assert.deepEqual(healer.heal(seven), []);
    assert.deepEqual(contentOf(db), now);
    db.close();
  });

  test("another program has written it, and nobody has seen that yet", (t) => {
    const { scene, proposal, db, healer } = proposed(t);
    const other = loadDriver(scene.driver).open(scene.primary, { timeout: 1000 });
    other.exec("UPDATE t SET data = zeroblob(3000)");
    const now = contentOf(db);
    assert.deepEqual(healer.heal(proposal), []);
    assert.deepEqual(contentOf(db), now);
    other.close();
    db.close();
  });

  test("the database has become shorter", (t) => {
    const { db, proposal, healer, scene } = proposed(t, [30]);
    db.exec("DELETE FROM t WHERE n > 3; VACUUM");
    for (const n of [...scene.acknowledged.keys()]) if (n > 3) scene.acknowledged.delete(n);
    db.exec("CREATE TABLE other (x)");
    assert.deepEqual(healer.heal(proposal), []);
    db.close();
  });

  test("the bytes are not as the checksum says", (t) => {
    const { proposal, db, healer, position } = proposed(t);
    const [remedy] = proposal.pages;
    assert.ok(remedy);
    const bytes = Buffer.from(remedy.bytes, "base64");
    bytes[9] = 255 - (bytes[9] as number);
    const wrong = { ...remedy, bytes: bytes.toString("base64") };
    db.put(1);
    const before = position();
    assert.deepEqual(healer.heal({ ...proposal, pages: [wrong] }), []);
    db.hub.gate();
    assert.equal(position(), before);
    db.close();
  });

  test("the lock page, and a page that is not there", (t) => {
    const { proposal, db, healer } = proposed(t);
    const bytes = Buffer.alloc(PAGE, 1);
    const pages = [lockPage(PAGE), 4000].map((page) => {
      const entry = checksumOf(page, bytes);
      return { page, entry, from: proposal.copy, bytes: bytes.toString("base64") };
    });
    db.put(1);
    assert.deepEqual(healer.heal({ ...proposal, pages }), []);
    db.close();
  });

  test("a copy that commits do not wait for", (t) => {
    const { proposal, db, healer } = proposed(t);
    assert.deepEqual(healer.heal({ ...proposal, copy: "/elsewhere/app.db" }), []);
    db.close();
  });
});

describe("what has to wait", () => {
  test("another program is writing", (t) => {
    const { scene, proposal, db, healer } = proposed(t);
    const other = loadDriver(scene.driver).open(scene.primary, { timeout: 1000 });
    other.exec("BEGIN IMMEDIATE; UPDATE t SET data = zeroblob(3000) WHERE n = 20");
    assert.equal(healer.heal(proposal), null);
    other.exec("COMMIT");
    assert.equal(healer.heal(proposal)?.length, 1);
    db.hub.gate();
    other.close();
    db.close();
  });

  test("nobody waits for a connection that was closed past the drop-in", (t) => {
    const { db, proposal, healer } = proposed(t);
    db.native.close();
    assert.equal(healer.heal(proposal)?.length, 1);
    db.hub.disconnect(null, () => {});
    db.scene.assertAtRest();
  });

  test("page 1 of the primary has rotted: no log is begun with it", (t) => {
    const scene = Scene.make(t);
    filled(scene);
    rot(scene.primary, 1, PAGE, 80);
    const proposal = proposalFor(scene.replica, scene.primary, 5);
    const db = scene.open();
    const before = db.hub.replication.status.primary.position;
    assert.equal((db.hub.healer as Healer).heal(proposal), null);
    db.hub.gate();
    assert.equal(db.hub.replication.status.primary.position, before);
    db.abandon();
  });

  test("page 1 of the primary has rotted where SQLite looks", (t) => {
    const scene = Scene.make(t);
    filled(scene);
    const proposal = proposalFor(scene.replica, scene.primary, 1, 5);
    const db = scene.open();
    rottenInUse(scene.primary, [1], 0);
    const healer = db.hub.healer as Healer;
    assert.equal(healer.heal(proposal), null);
    const before = openBelow(scene.primary);
    for (let i = 0; i < 10; i++) assert.equal(healer.heal(proposal), null);
    assert.deepEqual(openBelow(scene.primary), before, "what was opened is closed");
    assert.equal(db.hub.failure, null);
    rottenInUse(scene.primary, [1], 0);
    db.close();
  });
});

/** As an operator would: `mv restored.db app.db`, while the application runs. */
function replace({ scene, native }: Db): { assertUntouched: () => void; putBack: () => void } {
  const { primary, root } = scene;
  const [restored, away] = [`${root}/restored.db`, `${root}/away.db`];
  native.exec(`VACUUM INTO '${restored}'`);
  const other = loadDriver(scene.driver).open(restored);
  other.exec("PRAGMA journal_mode=WAL; DELETE FROM t WHERE n > 1");
  other.close();
  const bytes = fs.readFileSync(restored);
  const beside = (): unknown[] => [
    fs.readFileSync(`${primary}-wal`).subarray(0, 32),
    fs.statSync(`${primary}-wal`).ino,
    fs.statSync(`${primary}-shm`).ino,
    fs.statSync(`${primary}-shm`).size,
  ];
  const before = beside();
  fs.renameSync(primary, away);
  fs.renameSync(restored, primary);
  return {
    assertUntouched() {
      assert.ok(fs.readFileSync(primary).equals(bytes), "the file is as it was");
      assert.deepEqual(beside(), before, "the log goes on, and its index");
    },
    putBack() {
      fs.renameSync(primary, restored);
      fs.renameSync(away, primary);
    },
  };
}

describe("a file that was put in the primary's place while it is in use", () => {
  const error = { code: "ERR_LOCKSTEP_PRIMARY_IO", message: /its file was removed or replaced/ };

  test("nothing of it is changed by a healing", (t) => {
    const { scene, proposal, db, healer } = proposed(t);
    db.put(1);
    const { assertUntouched, putBack } = replace(db);
    assert.throws(() => healer.heal(proposal), error);
    assertUntouched();
    assert.equal(db.hub.failure?.code, error.code);
    db.abandon();
    putBack();
    scene.life((again) => again.put(1));
  });

  test("no log is folded into it ahead", (t) => {
    const { scene, db } = proposed(t, [5], { checkpointBytes: 300_000 });
    while (!scene.sidecar(scene.primary).state.folding) db.put(1, 3000); // it is about to be
    const { assertUntouched, putBack } = replace(db);
    assert.throws(() => {
      for (let i = 0; i < 10_000; i++) db.exec("UPDATE t SET data = randomblob(3000) WHERE n = 1");
    }, error);
    assertUntouched();
    db.abandon();
    putBack();
    scene.life((again) => again.put(1));
  });
});

test("a healing is no reason to write the record: it is on it with what is written next", (t) => {
  const { scene, proposal, db, healer } = proposed(t);
  const pages = healer.heal(proposal);
  assert.equal(pages?.length, 1);
  db.hub.gate();
  const before = fs.readFileSync(`${scene.primary}-lockstep`);
  healer.record(proposal.copy, pages ?? []);
  assert.ok(fs.readFileSync(`${scene.primary}-lockstep`).equals(before));
  db.close();
  assert.deepEqual(scene.events(scene.primary).slice(-2), ["healed", "closed"]);
});

describe("what no checksum can tell is named only", () => {
  test("a page that has rotted in both copies", async (t) => {
    const scene = Scene.make(t);
    filled(scene);
    rotten(scene.primary, 5, 9);
    rot(scene.replica, 5, PAGE, 3000);
    const db = scene.open({ scrubBytesPerSecond });
    await healed(db, 1);
    const found = new Set(db.hub.replication.status.rot.map(({ page }) => page));
    assert.deepEqual(found, new Set([5]));
    db.abandon();
  });

  test("an entry that says otherwise", async (t) => {
    const scene = Scene.make(t);
    filled(scene);
    rotten(scene.primary, 5, 9);
    const sums = fs.openSync(sumsPath(scene.replica), "r+");
    fs.writeSync(sums, Buffer.from([1, 2, 3, 4]), 0, 4, 16 + 4 * 4);
    fs.closeSync(sums);
    const db = scene.open({ scrubBytesPerSecond });
    assert.deepEqual(
      (await healed(db, 1)).map(([page]) => page),
      [9],
    );
    assert.ok(db.hub.replication.status.rot.some(({ page }) => page === 5));
    db.abandon();
  });
});
