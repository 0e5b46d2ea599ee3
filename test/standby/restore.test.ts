/**
 * A database out of a stream, as it was after any of its commits. Goal: what is restored is what the primary held
 * then (moments.ts), and nothing is put anywhere before that is sure.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { readSidecar } from "../../src/lineage/sidecar.ts";
import { follow } from "../../src/standby/follow.ts";
import { restoreStream } from "../../src/standby/restore.ts";
import { Archive } from "../../src/stream/archive.ts";
import { live, moments } from "./moments.ts";
import { assertEqual, insert, world } from "./world.ts";

moments("in an archive", false, (t) => world(t, { maxFrames: 7 }));

describe("a restore out of a stream", () => {
  test("to the end is a copy of it, which follows on", async (t) => {
    const w = await world(t);
    await live(w, 8);
    const report = await restoreStream(w.log, w.dest);
    assert.equal(report.position, formatPosition(w.writer.position));
    assert.equal(report.isReplica, true);
    const record = readSidecar(loadDriver("node:sqlite"), w.dest);
    assert.equal(record?.state.role, "replica");
    await w.writer.run(insert(3));
    await follow(w.log, w.dest, { once: true });
    await assertEqual(w);
  });

  test("replaces nothing without being told to, and then sets it aside", async (t) => {
    const w = await world(t);
    await live(w, 3);
    const db = new DatabaseSync(w.dest);
    db.exec("CREATE TABLE mine(x)");
    db.close();
    const before = fs.readFileSync(w.dest);
    await assert.rejects(restoreStream(w.log, w.dest), { code: "ERR_LOCKSTEP_DEST_EXISTS" });
    assert.ok(fs.readFileSync(w.dest).equals(before));
    const { setAside } = await restoreStream(w.log, w.dest, { force: true });
    assert.ok(fs.readFileSync(setAside as string).equals(before));
    await assertEqual(w);
  });

  test("from which a snapshot's image or a message is damaged leaves everything as it was", async (t) => {
    const w = await world(t);
    for (let i = 0; i < 3; i++) await w.writer.run(insert(3)); // one snapshot, which is used
    const [object] = fs.readdirSync(path.join(w.archive, "snapshots"));
    const { last } = await w.log.ends();
    const message = String(last).padStart(10, "0");
    const files = [`log/000000/${message}`, `snapshots/${object}`];
    for (const name of files) {
      const file = path.join(w.archive, name);
      const good = fs.readFileSync(file);
      const hurt = Buffer.from(good);
      hurt[good.length >> 1] = (hurt[good.length >> 1] as number) ^ 1;
      fs.writeFileSync(file, hurt);
      const log = await Archive.open(w.archive);
      await assert.rejects(restoreStream(log, w.dest), (error: { code?: unknown }) =>
        /VERIFY|REPLICA_CHANGED/.test(String(error.code)),
      );
      const left = fs.readdirSync(path.dirname(w.dest)).filter((n) => n.startsWith("standby.db"));
      assert.deepEqual(left, []);
      fs.writeFileSync(file, good);
    }
    await restoreStream(w.log, w.dest);
    await assertEqual(w);
  });

  test("of what was removed says so", async (t) => {
    const w = await world(t);
    const [first] = await live(w, 3);
    w.writer.checkpoint();
    await w.writer.run(insert(1));
    await w.writer.snapshot();
    await w.log.purge((await w.log.ends()).last - 1);
    await assert.rejects(restoreStream(w.log, w.dest, { at: first?.position }), {
      code: "ERR_LOCKSTEP_REPLICA_GONE",
    });
    await restoreStream(w.log, w.dest);
    await assertEqual(w);
  });
});
