/**
 * What every place for a stream must do (src/stream/log.ts), whatever it is made of. A place's own
 * test file calls this with how one is made.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, type TestContext, test } from "node:test";
import { codes } from "../../src/errors.ts";
import type { StreamLog } from "../../src/stream/log.ts";
import { all, fill, message, soon, textOf } from "./messages.ts";

/** Makes a new and empty place, which goes away with the test. @returns what opens it, again and again */
export type MakePlace = (t: TestContext) => Promise<() => Promise<StreamLog>>;

export function conformance(name: string, make: MakePlace, skip: string | false = false): void {
  /** A log on a new place, which is closed after the test. */
  async function newLog(t: TestContext): Promise<{ log: StreamLog; again(): Promise<StreamLog> }> {
    const open = await make(t);
    const again = async (): Promise<StreamLog> => {
      const log = await open();
      t.after(() => log.close());
      return log;
    };
    return { log: await again(), again };
  }

  const failsWith = (code: string) => (error: unknown) => {
    assert.equal((error as { code?: unknown }).code, code, String(error));
    return true;
  };

  describe(`${name} as a place for a stream`, { skip }, () => {
    test("begins empty, and counts from 1", async (t) => {
      const { log } = await newLog(t);
      assert.deepEqual(await log.ends(), { first: 1, last: 0 });
      assert.equal(await log.at(1), null);
      assert.equal(await log.append(message("a"), 0, soon()), null);
      assert.deepEqual(await log.ends(), { first: 1, last: 1 });
    });

    test("keeps what was appended, in order, byte for byte, also for who opens it anew", async (t) => {
      const { log, again } = await newLog(t);
      const filled = await fill(log, 20);
      for (const each of [log, await again()]) {
        const entries = await all(each.read(1, { to: 20 }));
        assert.deepEqual(
          entries.map(({ sequence }) => sequence),
          [...filled.keys()],
        );
        for (const { sequence, bytes, time } of entries) {
          assert.equal(Buffer.compare(bytes, filled.get(sequence) as Uint8Array), 0);
          assert.ok(Math.abs(Date.now() - time.getTime()) < 600_000, `${time}`);
        }
      }
    });

    test("takes messages up to its largest, and keeps none of the caller's bytes", async (t) => {
      const { log } = await newLog(t);
      const sent = message("large", log.maxBytes);
      const kept = Uint8Array.from(sent);
      assert.equal(sent.length, log.maxBytes);
      const appended = log.append(sent, 0, soon());
      sent.fill(0);
      assert.equal(await appended, null);
      assert.equal(Buffer.compare((await log.at(1))?.bytes as Uint8Array, kept), 0);
    });

    test("a place that is taken: what stands there, and the other message never gets in", async (t) => {
      const { log, again } = await newLog(t);
      const other = await again();
      assert.equal(await log.append(message("mine"), 0, soon()), null);
      const there = await other.append(message("other"), 0, soon());
      assert.deepEqual([there?.sequence, textOf(there)], [1, "mine"]);
      await fill(log, 3);
      assert.equal(textOf(await other.append(message("late"), 1, soon())), "m2");
      const texts = (await all(log.read(1, { to: 4 }))).map(textOf);
      assert.deepEqual(texts, ["mine", "m2", "m3", "m4"]);
    });

    test("the same bytes for the same place again: they are there once", async (t) => {
      const { log, again } = await newLog(t);
      const bytes = message("once");
      assert.equal(await log.append(bytes, 0, soon()), null);
      assert.equal(await (await again()).append(bytes, 0, soon()), null);
      assert.deepEqual(await log.ends(), { first: 1, last: 1 });
    });

    test("many who want the same place: one gets it, the others see whose it is", async (t) => {
      const { log, again } = await newLog(t);
      const logs = [log, await again(), await again(), await again()];
      for (let after = 0; after < 10; after++) {
        const outcomes = await Promise.all(
          logs.map((each, i) => each.append(message(`${after}-${i}`), after, soon())),
        );
        const winners = outcomes.flatMap((there, i) => (there === null ? [`${after}-${i}`] : []));
        assert.equal(winners.length, 1, `${winners}`);
        const seen = outcomes.filter((there) => there !== null).map(textOf);
        assert.deepEqual(new Set(seen), new Set(winners));
      }
      assert.deepEqual(await log.ends(), { first: 1, last: 10 });
    });

    test("force: at the end, wherever that is, and who appends there is told", async (t) => {
      const { log, again } = await newLog(t);
      const other = await again();
      assert.equal(await other.force(message("marker"), soon()), 1);
      await fill(log, 2);
      assert.equal(await other.force(message("again"), soon()), 4);
      const there = await log.append(message("late"), 3, soon());
      assert.deepEqual([there?.sequence, textOf(there)], [4, "again"]);
    });

    test("an append beyond the end is not taken, and says so in time", async (t) => {
      const { log } = await newLog(t);
      await fill(log, 2);
      const appended = log.append(message("beyond"), 7, AbortSignal.timeout(500));
      await assert.rejects(appended, (error: { code?: string }) =>
        [codes.IN_DOUBT, codes.REWOUND].includes(error.code as never),
      );
      assert.deepEqual(await log.ends(), { first: 1, last: 2 });
    });

    test("a signal that came before: nothing was written", async (t) => {
      const { log } = await newLog(t);
      await assert.rejects(log.append(message("no"), 0, AbortSignal.abort()));
      assert.deepEqual(await log.ends(), { first: 1, last: 0 });
    });

    test("reads from the middle, and goes on with what comes until the signal", async (t) => {
      const { log, again } = await newLog(t);
      await fill(log, 5);
      const reader = await again();
      const ended = new AbortController();
      const texts: (string | null)[] = [];
      let filled: Promise<unknown> | undefined;
      for await (const entry of reader.read(4, { live: ended.signal })) {
        texts.push(textOf(entry));
        if (entry.sequence === 5) filled = fill(log, 3);
        if (entry.sequence === 8) ended.abort();
      }
      await filled; // a message is read before it is acknowledged
      assert.deepEqual(texts, ["m4", "m5", "m6", "m7", "m8"]);
    });

    test("reading what comes ends with the signal, though nothing comes", async (t) => {
      const { log } = await newLog(t);
      const ended = new AbortController();
      const reading = all(log.read(1, { live: ended.signal }));
      await fill(log, 1);
      ended.abort();
      assert.ok((await reading).length <= 1);
    });

    test("reads many large messages", async (t) => {
      const { log } = await newLog(t);
      const size = Math.min(log.maxBytes, 256 << 10);
      const filled = await fill(log, 40, size);
      for (const { sequence, bytes } of await all(log.read(1, { to: 40 }))) {
        assert.equal(Buffer.compare(bytes, filled.get(sequence) as Uint8Array), 0, `${sequence}`);
      }
    });

    test("a reader that takes its time loses nothing", async (t) => {
      const { log } = await newLog(t);
      await fill(log, 60, 32 << 10);
      let next = 1;
      for await (const { sequence } of log.read(1, { to: 60 })) {
        assert.equal(sequence, next++);
        if (next === 3) await fill(log, 2);
      }
      assert.equal(next, 61);
    });

    test("purge: numbers stay, what is gone is said to be, and appends go on", async (t) => {
      const { log, again } = await newLog(t);
      await fill(log, 10);
      await log.purge(7);
      await log.purge(7);
      assert.deepEqual(await log.ends(), { first: 7, last: 10 });
      assert.equal(await log.at(6), null);
      assert.equal(textOf(await log.at(7)), "m7");
      assert.deepEqual((await all(log.read(7, { to: 10 }))).length, 4);
      await assert.rejects(all(log.read(6, { to: 10 })), failsWith(codes.REPLICA_GONE));
      assert.equal(await log.append(message("m11"), 10, soon()), null);
      await log.purge(12);
      const other = await again();
      for (const each of [log, other]) assert.deepEqual(await each.ends(), { first: 12, last: 11 });
      assert.equal(await other.append(message("m12"), 11, soon()), null);
      assert.deepEqual((await all(other.read(12, { to: 12 }))).map(textOf), ["m12"]);
    });

    test("objects: whole under their names, of any size, and gone when removed", async (t) => {
      const { log, again } = await newLog(t);
      const sizes = { "9-empty": 0, "1-one": 1, "2-large": 3_000_001, "3 a/b.ö": 600_000 };
      const digests = new Map<string, string>();
      for (const [name, size] of Object.entries(sizes)) {
        const bytes = randomBytes(size);
        digests.set(name, sha(bytes));
        await log.put(name, inChunks(bytes, 100_000), soon());
      }
      const other = await again();
      assert.deepEqual([...(await other.objects())].sort(), Object.keys(sizes).sort());
      for (const [name, digest] of digests) assert.equal(sha(await bytesOf(other, name)), digest);
      await other.remove("2-large");
      await other.remove("2-large");
      assert.equal((await log.objects()).length, 3);
      await assert.rejects(bytesOf(log, "2-large"), failsWith(codes.REPLICA_GONE));
      await assert.rejects(bytesOf(log, "none"), failsWith(codes.REPLICA_GONE));
    });

    test("an object that could not be finished is none", async (t) => {
      const { log } = await newLog(t);
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield randomBytes(700_000);
        throw new Error("the source broke");
      }
      await assert.rejects(log.put("half", broken(), soon()));
      await assert.rejects(log.put("aborted", inChunks(randomBytes(10), 5), AbortSignal.abort()));
      assert.deepEqual(await log.objects(), []);
      await assert.rejects(bytesOf(log, "half"), failsWith(codes.REPLICA_GONE));
      await log.put("half", inChunks(Buffer.from("whole"), 2), soon());
      assert.equal(String(await bytesOf(log, "half")), "whole");
    });

    test("an object's name is written once", async (t) => {
      const { log } = await newLog(t);
      await log.put("name", inChunks(Buffer.from("first"), 5), soon());
      await assert.rejects(log.put("name", inChunks(Buffer.from("second"), 5), soon()));
      assert.equal(String(await bytesOf(log, "name")), "first");
    });

    test("closed in the middle of reading: the reading ends", async (t) => {
      const { again } = await newLog(t);
      const log = await again();
      await fill(log, 3);
      const seen: number[] = [];
      const ended = new AbortController();
      const reading = (async () => {
        for await (const { sequence } of log.read(1, { live: ended.signal })) {
          seen.push(sequence);
          if (sequence === 3) {
            ended.abort();
            await log.close();
          }
        }
      })();
      await reading;
      assert.deepEqual(seen, [1, 2, 3]);
    });
  });
}

// --- internal ---

function sha(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function bytesOf(log: StreamLog, name: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of log.get(name)) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
