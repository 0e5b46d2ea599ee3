/**
 * A database out of a stream, as it was after any of its commits. Goal: what is restored is what the primary held
 * then, and nothing is put anywhere before that is sure. Method: a primary whose content is noted after each commit.
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
import { runs, seed } from "../support/seed.ts";
import { assertEqual, contentAt, contentOf, insert, type World, world } from "./world.ts";

/** Numbers that the seed gives. */
function random(): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Commit {
  readonly position: string;
  readonly content: string;
  readonly message: number;
}

/** A primary with a life: rows come and go, logs begin anew, snapshots are taken, it shrinks. */
async function live({ writer }: World, commits: number): Promise<Commit[]> {
  const next = random();
  const found: Commit[] = [];
  for (let i = 0; i < commits; i++) {
    const dice = next();
    if (dice < 0.6) await writer.run(insert(1 + Math.floor(next() * 20), 500));
    else if (dice < 0.75) await writer.run("DELETE FROM t WHERE id % 3 = 0");
    else if (dice < 0.8) await writer.run("VACUUM");
    else await writer.run(`UPDATE t SET x = randomblob(300) WHERE id % 5 = ${i % 5}`);
    const then = next();
    if (then < 0.2) writer.checkpoint();
    else if (then < 0.4) await writer.snapshot();
    const message = [...writer.positions.keys()].at(-1) as number;
    const position = formatPosition(writer.position);
    found.push({ position, content: contentOf(writer.db), message });
  }
  return found;
}

describe("a restore out of a stream", () => {
  test(`to any commit is what the primary held then (seed ${seed})`, async (t) => {
    const w = await world(t, { maxFrames: 7 });
    const commits = await live(w, 40);
    const next = random();
    for (let i = 0; i < runs(12); i++) {
      const { position, content } = commits[Math.floor(next() * commits.length)] as Commit;
      const dest = `${w.dest}-${i}`;
      const report = await restoreStream(w.log, dest, { at: position });
      assert.equal(report.position, position);
      assert.equal(report.isReplica, false);
      assert.equal(contentAt(dest), content, position);
      assert.equal(fs.existsSync(`${dest}-lockstep`), false);
    }
    await restoreStream(w.log, w.dest);
    await assertEqual(w);
  });

  test("to a moment is the last commit that the stream had then", async (t) => {
    const w = await world(t);
    const commits = await live(w, 12);
    for (const { message, content } of commits.slice(-6)) {
      const { time } = (await w.log.at(message)) as { time: Date };
      const dest = `${w.dest}-${message}`;
      const after = (await w.log.at(message + 1))?.time ?? null;
      if (after && after.getTime() === time.getTime()) continue; // the clock does not tell them apart
      await restoreStream(w.log, dest, { at: time.toISOString() });
      assert.equal(contentAt(dest), content);
    }
    const early = { at: "2001-01-01T00:00:00Z" };
    await assert.rejects(restoreStream(w.log, w.dest, early), {
      code: "ERR_LOCKSTEP_REPLICA_GONE",
      message: /its first message is younger/,
    });
    for (const at of ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "1/2/3/4"]) {
      await assert.rejects(restoreStream(w.log, w.dest, { at }), {
        code: "ERR_LOCKSTEP_BAD_OPTION",
      });
    }
  });

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
    await live(w, 3);
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
