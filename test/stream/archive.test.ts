/**
 * A stream in a directory: what every place does, and what only files can do to it.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Archive, createArchive } from "../../src/stream/archive.ts";
import { Keys } from "../../src/stream/keys.ts";
import type { StreamLog } from "../../src/stream/log.ts";
import { readSnapshot, takeSnapshot } from "../../src/stream/snapshots.ts";
import { scratch } from "../scratch.ts";
import { conformance } from "./conformance.ts";

const never = new AbortController().signal;
const message = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

async function made(t: TestContext): Promise<string> {
  const directory = path.join(scratch(t), "archive");
  await createArchive(directory);
  return directory;
}

async function filled(t: TestContext, count: number): Promise<{ root: string; log: Archive }> {
  const root = await made(t);
  const log = await Archive.open(root);
  for (let i = 0; i < count; i++) await log.append(message(`message ${i + 1}`), i, never);
  return { root, log };
}

const fileOf = (root: string, sequence: number): string =>
  path.join(root, "log", "000000", String(sequence).padStart(10, "0"));

conformance("an archive", async (t) => {
  const directory = await made(t);
  return () => Archive.open(directory);
});

describe("an archive", () => {
  test("is made only where nothing else is, and opened only where one is", async (t) => {
    const directory = scratch(t);
    await assert.rejects(Archive.open(directory), { code: "ERR_LOCKSTEP_REPLICA_GONE" });
    fs.writeFileSync(path.join(directory, "something"), "");
    await assert.rejects(createArchive(directory), { code: "ERR_LOCKSTEP_DEST_EXISTS" });
    assert.deepEqual(fs.readdirSync(directory), ["something"]);
  });

  test("goes on over a directory's end, and lists no more than it must", async (t) => {
    const root = await made(t);
    // As if there had been so many, and most of them were removed.
    fs.writeFileSync(path.join(root, "purged-0000009999"), "");
    const log = await Archive.open(root);
    for (let n = 9998; n < 10_002; n++) await log.append(message(`${n + 1}`), n, never);
    assert.deepEqual(fs.readdirSync(path.join(root, "log")), ["000000", "000001"]);
    const other = await Archive.open(root);
    assert.deepEqual(await other.ends(), { first: 9999, last: 10_002 });
    await other.purge(10_001);
    assert.deepEqual(fs.readdirSync(path.join(root, "log")), ["000001"]);
    assert.deepEqual(await (await Archive.open(root)).ends(), { first: 10_001, last: 10_002 });
  });

  test("says which file is torn, or foreign, or of another place", async (t) => {
    const { root, log } = await filled(t, 3);
    const good = fs.readFileSync(fileOf(root, 2));
    const refused = { code: "ERR_LOCKSTEP_REPLICA_CHANGED", message: /0000000002: This file/ };
    for (let at = 0; at < good.length; at++) {
      const hurt = Buffer.from(good);
      hurt[at] = (hurt[at] as number) ^ 1;
      fs.writeFileSync(fileOf(root, 2), hurt);
      await assert.rejects(log.at(2), refused, `byte ${at}`);
    }
    for (const bytes of [good.subarray(0, 20), good.subarray(0, -1), Buffer.from("foreign")]) {
      fs.writeFileSync(fileOf(root, 2), bytes);
      await assert.rejects(log.at(2), refused);
    }
    fs.copyFileSync(fileOf(root, 3), fileOf(root, 2));
    await assert.rejects(log.at(2), refused);
    fs.rmSync(fileOf(root, 2));
    await assert.rejects(gather(log.read(1, { to: 3 })), {
      code: "ERR_LOCKSTEP_REPLICA_CHANGED",
      message: /0000000002: A message of the archive is missing/,
    });
  });

  test("that an older copy took the place of has gone back", async (t) => {
    const { root, log } = await filled(t, 3);
    fs.rmSync(fileOf(root, 3));
    await assert.rejects(log.ends(), { code: "ERR_LOCKSTEP_REWOUND" });
    await assert.rejects(log.append(message("4"), 3, never), { code: "ERR_LOCKSTEP_REWOUND" });
  });

  test("whose end moves on while it is read up to there lacks nothing", async (t) => {
    const { root, log } = await filled(t, 1);
    const end = new AbortController();
    const reader = await Archive.open(root);
    const entries = reader.read(1, { live: end.signal });
    assert.equal((await entries.next()).value?.sequence, 1);
    reader.ends = async () => {
      await log.append(message("message 2"), 1, never);
      await log.append(message("message 3"), 2, never);
      return Archive.prototype.ends.call(reader);
    };
    assert.equal((await entries.next()).value?.sequence, 2);
    end.abort();
  });

  test("whose directory went away says so", async (t) => {
    const { root, log } = await filled(t, 1);
    fs.renameSync(root, `${root}-away`);
    await assert.rejects(log.append(message("2"), 1, never), { code: "ERR_LOCKSTEP_REPLICA_GONE" });
    await assert.rejects(log.ends(), { code: "ERR_LOCKSTEP_REPLICA_GONE" });
  });

  test("says that an object is damaged", async (t) => {
    const { root, log } = await filled(t, 0);
    await log.put("one", once(Buffer.alloc(1000)), never);
    const file = path.join(root, "snapshots", "one");
    const good = fs.readFileSync(file);
    for (const at of [0, 999, 1001, good.length - 1]) {
      const hurt = Buffer.from(good);
      hurt[at] = (hurt[at] as number) ^ 1;
      fs.writeFileSync(file, hurt);
      await assert.rejects(gather(log.get("one")), { code: "ERR_LOCKSTEP_VERIFY" });
    }
    fs.writeFileSync(file, good.subarray(0, 10));
    await assert.rejects(gather(log.get("one")), { code: "ERR_LOCKSTEP_VERIFY" });
  });
});

describe("what an archive has said is there", () => {
  /** What is done to files, in order, by name. */
  function recorded(t: TestContext, root: string): string[] {
    const steps: string[] = [];
    const say = (what: string, file: string): void => {
      const name = path.relative(root, file).replace(/-[\w-]+$/, "");
      steps.push(`${what} ${name === "" ? "." : name}`);
    };
    const { promises } = fs;
    const { open, link, rename, rm } = promises;
    t.after(() => Object.assign(promises, { open, link, rename, rm }));
    promises.open = (async (file: string, ...rest: never[]) => {
      const handle = await open(file, ...rest);
      const sync = handle.sync.bind(handle);
      handle.sync = async () => {
        say("sync", file);
        return sync();
      };
      return handle;
    }) as typeof open;
    promises.link = async (from, to) => {
      say("link", String(to));
      return link(from, to);
    };
    promises.rename = async (from, to) => {
      say("rename", String(to));
      return rename(from, to);
    };
    promises.rm = async (file, options) => {
      say("remove", String(file));
      return rm(file, options);
    };
    return steps;
  }

  test("was synced before it got its name, and its name before that is said", async (t) => {
    const { root, log } = await filled(t, 1);
    const steps = recorded(t, root);
    await log.append(message("2"), 1, never);
    assert.deepEqual(steps, [
      "sync new/2",
      "link log/000000/0000000002",
      "remove new/2",
      "sync log/000000",
      "sync log",
    ]);
  });

  test("also by those who find it", async (t) => {
    const { root } = await filled(t, 2);
    const steps = recorded(t, root);
    await (await Archive.open(root)).ends();
    assert.deepEqual(steps, ["sync log/000000", "sync log"]);
    await gather((await Archive.open(root)).read(1, { to: 2 }));
    assert.deepEqual(steps.slice(2), ["sync log/000000", "sync log"]);
  });

  test("objects, too", async (t) => {
    const { root, log } = await filled(t, 0);
    const steps = recorded(t, root);
    await log.put("one", once(Buffer.alloc(10)), never);
    assert.deepEqual(steps, [
      ...["sync new/one", "link snapshots/one", "remove new/one", "sync snapshots"],
    ]);
  });

  test("is removed only after that is on record", async (t) => {
    const { root, log } = await filled(t, 3);
    const steps = recorded(t, root);
    await log.purge(3);
    assert.deepEqual(steps, [
      "sync new/purged",
      "rename purged",
      "sync .",
      "remove log/000000/0000000001",
      "remove log/000000/0000000002",
    ]);
  });

  test("if the system refuses a name's sync, that is not sure", async (t) => {
    const { root, log } = await filled(t, 1);
    const { promises } = fs;
    const { open } = promises;
    t.after(() => Object.assign(promises, { open }));
    promises.open = (async (file: string, ...rest: never[]) => {
      if (file.endsWith("000000")) throw Object.assign(new Error("EIO"), { code: "EIO" });
      return open(file, ...rest);
    }) as typeof open;
    await assert.rejects(log.append(message("2"), 1, never), { code: "ERR_LOCKSTEP_IN_DOUBT" });
    Object.assign(promises, { open });
    assert.deepEqual(await (await Archive.open(root)).ends(), { first: 1, last: 2 });
  });
});

describe("a snapshot", () => {
  const keys = Keys.parse(`1:${"ab".repeat(32)}`, "a test");
  const image = Buffer.alloc(2_500_096, "a page of the database, and another ");

  async function taken(log: StreamLog, given: Keys | null, bytes: Buffer) {
    const options = {
      after: 12,
      frame: 7,
      pageSize: 512,
      signal: never,
      keys: given,
      compress: true,
    };
    const note = await takeSnapshot(
      log,
      once(bytes.subarray(0, 999), bytes.subarray(999)),
      options,
    );
    return { ...note, logFrom: 3, install: 0 };
  }

  for (const [name, given] of [
    ["plain", null],
    ["sealed", keys],
  ] as const) {
    test(`comes back as it was: ${name}`, async (t) => {
      const { log } = await filled(t, 0);
      for (const bytes of [image, image.subarray(0, 1 << 20), image.subarray(0, 512)]) {
        const note = await taken(log, given, bytes);
        assert.match(note.object, /^000000000012-7-[\da-f]{8}$/);
        assert.equal(note.pages, bytes.length / 512);
        const back = Buffer.concat(await gather(readSnapshot(log, note, given)));
        assert.ok(back.equals(bytes));
      }
    });
  }

  test("with chunks in another order, missing, damaged, or of another snapshot is refused", async (t) => {
    const { log } = await filled(t, 0);
    for (const given of [null, keys]) {
      const note = await taken(log, given, image);
      const other = await taken(log, given, Buffer.alloc(image.length, 7));
      const chunks = await chunksOf(log, note.object);
      const others = await chunksOf(log, other.object);
      assert.equal(chunks.length, 3);
      const [a, b, c] = chunks as [Buffer, Buffer, Buffer];
      const hurt = Buffer.from(b);
      hurt[60] = (hurt[60] as number) ^ 1;
      const bad = [
        [b, a, c],
        [a, c],
        [a, b],
        [a, b, c, c],
        [a, hurt, c],
        [a, others[1] as Buffer, c],
        [],
      ];
      for (const [i, parts] of bad.entries()) {
        const object = `${note.object.slice(0, -8)}0000000${i}`;
        await log.remove(object);
        await log.put(object, once(...parts), never);
        await assert.rejects(
          gather(readSnapshot(log, { ...note, object }, given)),
          (error: { code?: unknown; message: string }) => {
            if (given === null && i < 2) assert.match(error.message, /in another order/);
            return /VERIFY|REPLICA_CHANGED/.test(String(error.code));
          },
        );
      }
    }
  });
});

async function chunksOf(log: StreamLog, object: string): Promise<Buffer[]> {
  const bytes = Buffer.concat(await gather(log.get(object)));
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 36 + bytes.readUInt32LE(at + 12);
    found.push(bytes.subarray(at, end));
    at = end;
  }
  return found;
}

async function gather<T>(from: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of from) found.push(each);
  return found;
}

async function* once(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}
