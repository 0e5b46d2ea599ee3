/**
 * A database out of a stream, as it was after any of its commits. Goal: what is restored is what the primary held
 * then (moments.ts), and nothing is put anywhere before that is sure.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { loadDriver } from "../../src/driver.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
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

  test("reads messages while it reads the image: what goes wrong first is told, and nothing is read any more", async (t) => {
    const w = await world(t);
    await w.writer.run(insert(3000, 1000));
    w.writer.checkpoint();
    await w.writer.run(insert(3));
    await w.writer.snapshot();
    for (let i = 0; i < 40; i++) await w.writer.run(insert(3));
    const { last } = await w.log.ends();
    const message = `log/000000/${String(last - 3).padStart(10, "0")}`;
    const snapshots = fs.readdirSync(path.join(w.archive, "snapshots")).sort();
    const image = `snapshots/${snapshots.at(-1)}`;
    for (const { torn, code } of [
      { torn: [message], code: "ERR_LOCKSTEP_REPLICA_CHANGED" },
      { torn: [image, message], code: "ERR_LOCKSTEP_VERIFY" },
      { torn: [], code: "ABORT_ERR" },
    ]) {
      const stopped = new AbortController();
      let mend = (): void => {};
      // Not before: who looks for the snapshot reads the messages, too.
      const log = watched(w.log, () => (mend = tear(w.archive, torn)));
      const restoring = restoreStream(log, w.dest, {
        signal: stopped.signal,
        onProgress: ({ phase }) => {
          if (phase === "snapshot") assert.ok(log.readers > 1, "both are read");
          if (torn.length === 0) stopped.abort();
        },
      });
      await assert.rejects(restoring, (error: { code?: unknown; name?: unknown }) => {
        return error.code === code || (error.name === "AbortError" && code === "ABORT_ERR");
      });
      assert.equal(log.readers, 0);
      const left = fs.readdirSync(path.dirname(w.dest)).filter((n) => n.startsWith("standby.db"));
      assert.deepEqual(left, []);
      mend();
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

// --- internal ---

/** One byte in the middle of each file is another. @returns what takes that back */
function tear(directory: string, names: readonly string[]): () => void {
  const files = names.map((name) => path.join(directory, name));
  const good = files.map((file) => fs.readFileSync(file));
  for (const [i, file] of files.entries()) {
    const hurt = Buffer.from(good[i] as Buffer);
    hurt[hurt.length >> 1] = (hurt[hurt.length >> 1] as number) ^ 1;
    fs.writeFileSync(file, hurt);
  }
  return () => files.forEach((file, i) => void fs.writeFileSync(file, good[i] as Buffer));
}

/**
 * An archive that counts who reads in it just now.
 * @param onImage called when an image is asked for; from then on messages take longer than that
 */
function watched(log: Archive, onImage: () => void): Archive & { readers: number } {
  const counted = { readers: 0, turns: 0 };
  async function* count<T>(source: AsyncIterable<T>, isImage = false): AsyncGenerator<T> {
    counted.readers++;
    try {
      for await (const each of source) {
        for (let i = 0; !isImage && i < counted.turns; i++) await turn();
        yield each;
      }
    } finally {
      counted.readers--;
    }
  }
  const methods: Record<string | symbol, unknown> = {
    read: (...args: Parameters<Archive["read"]>) => count(log.read(...args)),
    get: (name: string) => {
      counted.turns = 100;
      onImage();
      return count(log.get(name), true);
    },
  };
  return new Proxy(log, {
    get(_, key) {
      if (key === "readers") return counted.readers;
      const found = methods[key] ?? Reflect.get(log, key, log);
      return typeof found === "function" ? found.bind(log) : found;
    },
  }) as Archive & { readers: number };
}
