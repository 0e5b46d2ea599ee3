/**
 * The `sqlite3` shell on the primary and on a replica, while they are in use here and in between. What
 * other programs do to copies in use is in test/faults/other-program.test.ts, with node:sqlite.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { describe, test } from "node:test";
import { sync } from "../../src/sync.ts";
import { scratch } from "../scratch.ts";
import { Scene } from "../support/scene.ts";
import { shell, shellAt, skip, tryShell } from "./shell.ts";

const FOREIGN = "INSERT INTO t VALUES(100001, 'by the shell');";

/** What a shell may do to a copy that it only reads. */
function readsAll(file: string, elsewhere: string): string {
  return shell(
    file,
    "SELECT count(*) FROM t;",
    "PRAGMA quick_check;",
    `.backup '${elsewhere}'`,
    "SELECT length(group_concat(hex(data))) > 0 FROM t;",
  );
}

describe("in use, the shell", { skip, concurrency: 2 }, () => {
  for (const side of ["primary", "replica"] as const) {
    test(`reads and backs up the ${side}: it sees every acknowledged commit, nothing else happens`, (t) => {
      const scene = Scene.make(t);
      const db = scene.open({ checkpointBytes: 40_000 });
      const place = scratch(t);
      for (let i = 0; i < 4; i++) {
        db.put(5, 3000);
        const said = readsAll(scene[side], path.join(place, `${i}.db`));
        assert.equal(said, `${scene.acknowledged.size}\nok\n1`);
      }
      db.close();
    });

    test(`is killed in a read of the ${side}: checkpoints go on`, async (t) => {
      const scene = Scene.make(t);
      const db = scene.open({ checkpointBytes: 40_000 });
      db.put(3);
      const reader = await shellAt(t, scene[side], "BEGIN; SELECT count(*) FROM t;");
      db.put(20, 3000);
      assert.ok(db.happened.includes("checkpoint-postponed"));
      const before = db.happened.filter((what) => what === "checkpoint").length;
      await reader.kill();
      db.put(20, 3000);
      assert.ok(db.happened.filter((what) => what === "checkpoint").length > before);
      db.close();
    });
  }

  test("vacuums the primary: the next commit carries all of it along", (t) => {
    const scene = Scene.make(t);
    const db = scene.open({ checkpointBytes: 200_000 });
    db.put(40, 3000);
    db.exec("DELETE FROM t WHERE n % 2 = 0");
    for (const n of [...scene.acknowledged.keys()]) if (n % 2 === 0) scene.acknowledged.delete(n);
    shell(scene.primary, "VACUUM;");
    db.put(1);
    assert.equal(shell(scene.replica, "SELECT count(*) FROM t;"), String(scene.acknowledged.size));
    db.close();
  });

  test("writes and checkpoints the primary, in turns with us: every commit is in both copies", (t) => {
    const scene = Scene.make(t);
    const db = scene.open({ checkpointBytes: 40_000 });
    db.put(1);
    const modes = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"];
    for (let i = 0; i < 8; i++) {
      const n = 200_000 + i;
      shell(
        scene.primary,
        `INSERT INTO t VALUES(${n}, zeroblob(5000));`,
        `PRAGMA wal_checkpoint(${modes[i % 4]});`,
      );
      scene.acknowledged.set(n, 5000);
      db.exec(`UPDATE t SET data = zeroblob(5000) WHERE n = ${n}`);
    }
    db.close();
  });

  test("holds the primary's write lock and is killed: SQLITE_BUSY until then, nothing is lost", async (t) => {
    const scene = Scene.make(t);
    const db = scene.open();
    db.put(1);
    db.exec("PRAGMA busy_timeout=50");
    const writer = await shellAt(t, scene.primary, "BEGIN IMMEDIATE;", FOREIGN);
    assert.throws(() => db.put(1), { errcode: 5 });
    await writer.kill();
    db.put(1);
    db.close();
  });

  test("vacuums the replica: REPLICA_CHANGED, and `sync --from primary` mends it", async (t) => {
    const scene = Scene.make(t);
    const db = scene.open();
    db.put(3, 3000);
    shell(scene.replica, "VACUUM;");
    assert.throws(() => db.exec("INSERT INTO t VALUES(300000, 'never acknowledged')"), {
      code: "ERR_LOCKSTEP_REPLICA_CHANGED",
    });
    db.abandon();
    scene.refuses("DIVERGED");
    await sync(scene.primary, scene.replica, { from: "primary" });
    scene.life((later) => later.put(1));
  });

  for (const side of ["primary", "replica"] as const) {
    test(`would change the ${side}'s journal mode, or open it exclusively: refused`, (t) => {
      const scene = Scene.make(t);
      const db = scene.open();
      db.put(2);
      for (const mode of ["journal_mode=DELETE", "locking_mode=EXCLUSIVE"]) {
        const { error } = tryShell(scene[side], `PRAGMA ${mode};`, "BEGIN IMMEDIATE;");
        assert.match(error, /locked/, mode);
        db.put(1);
      }
      db.close();
    });
  }
});

describe("between two openings, the shell", { skip, concurrency: 2 }, () => {
  for (const side of ["primary", "replica"] as const) {
    test(`reads the ${side} and checkpoints it: the start finds the copies in step`, (t) => {
      const scene = Scene.make(t);
      scene.life((db) => db.put(3));
      readsAll(scene[side], path.join(scratch(t), "backup.db"));
      for (const mode of ["PASSIVE", "TRUNCATE"]) {
        shell(scene[side], `PRAGMA wal_checkpoint(${mode});`);
      }
      scene.life((db) => {
        db.assertNothingCopied();
        db.put(1);
      });
    });

    test(`reads the ${side} after a crash, and folds its log: the start loses nothing`, (t) => {
      const scene = Scene.make(t);
      const db = scene.open();
      db.put(3, 3000);
      const crashed = scene.crashImage();
      db.close();
      assert.equal(shell(crashed[side], "SELECT count(*) FROM t;"), "3");
      crashed.life((later) => later.put(1));
    });

    for (const [what, line] of [
      ["writes", FOREIGN],
      ["vacuums", "DELETE FROM t WHERE n = 1; INSERT INTO t VALUES(1, zeroblob(100)); VACUUM;"],
      ["takes out of WAL mode", "PRAGMA journal_mode=DELETE;"],
    ] as const) {
      test(`${what} the ${side}: refused, and \`sync --from primary\` settles it`, async (t) => {
        const scene = Scene.make(t);
        scene.life((db) => db.put(3));
        shell(scene[side], line);
        scene.refuses("DIVERGED");
        await sync(scene.primary, scene.replica, { from: "primary" });
        scene.life((db) => {
          db.assertNothingCopied();
          db.put(1);
        });
      });
    }
  }
});
