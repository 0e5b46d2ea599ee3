/** What a mirror's thread does with what is in the ring: what it confirms, and when; and once commits go on without its stream. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type Connection, loadDriver } from "../../src/driver.ts";
import { Mirror } from "../../src/gate/mirror.ts";
import { allocate, type SharedMemory, Slots } from "../../src/gate/slots.ts";
import { Streamed } from "../stream/streamed.ts";
import { showLog } from "./ring-log.ts";

/** A stream at rest that is attached, and a primary whose next commits are put into the ring. */
class Pair {
  readonly mirror: Mirror;
  readonly streamed: Streamed;
  readonly #memory: SharedMemory = allocate(1, 1 << 20);
  readonly #slots = new Slots(this.#memory);
  readonly #connection: Connection;

  private constructor(t: TestContext, streamed: Streamed) {
    this.streamed = streamed;
    const { primary, address } = streamed;
    this.#connection = loadDriver("node:sqlite").open(primary);
    const rest = { memory: this.#memory, slots: this.#slots, timeout: 20_000, onProgress: null };
    const context = {
      driver: "node:sqlite" as const,
      ...rest,
      primary,
      addresses: [address],
      known: () => 0,
    };
    this.mirror = new Mirror(context, address, 0, null);
    this.mirror.look();
    this.mirror.attach(1);
    this.mirror.attachedAt();
    t.after(() => {
      this.mirror.close(false, "");
      this.#connection.close();
    });
  }

  static async make(t: TestContext): Promise<Pair> {
    const streamed = await Streamed.make(t);
    await streamed.life((db) => streamed.put(db, 3));
    return new Pair(t, streamed);
  }

  /** Commits rows of these sizes, and shows the thread the log's frames. Returns where in the ring each commit ends. */
  commit(...sizes: number[]): number[] {
    for (const [i, bytes] of sizes.entries()) {
      this.#connection.exec(`INSERT INTO t VALUES(${1000 + i}, randomblob(${bytes}))`);
    }
    return showLog(this.streamed.primary, this.#memory, this.#slots);
  }

  /** Up to where in the ring it has confirmed. */
  get confirmed(): number {
    return this.#slots.tail(0);
  }
}

test("a thread that is waited for sends it, that is how the other can fail", async (t) => {
  const pair = await Pair.make(t);
  const before = await pair.streamed.ends();
  pair.commit(1);
  pair.mirror.refresh();
  pair.mirror.close(false, "");
  assert.equal((await pair.streamed.ends()).last, before.last + 1);
});

test("a thread that was given up sends nothing of it", async (t) => {
  const pair = await Pair.make(t);
  const before = await pair.streamed.ends();
  pair.mirror.giveUp();
  pair.commit(1);
  pair.mirror.refresh(); // it has looked into the ring since, or does so before it lets go
  pair.mirror.close(false, "");
  assert.equal((await pair.streamed.ends()).last, before.last);
});

describe("each message is confirmed when it is in the stream", () => {
  /** Only so many of the messages get into the stream: there is something else at the next place. */
  async function failing(t: TestContext, messages: number): Promise<Pair> {
    const pair = await Pair.make(t);
    const { last } = await pair.streamed.ends();
    const [shard = ""] = fs.globSync(path.join(pair.streamed.archive, "log", "*"));
    const name = String(last + messages + 1).padStart(10, "0");
    fs.writeFileSync(path.join(shard, name), "not a message");
    return pair;
  }

  test("the commits that it has are, those after them are not", async (t) => {
    const pair = await failing(t, 1);
    const [first] = pair.commit(300_000, 300_000);
    assert.throws(() => pair.mirror.refresh());
    assert.equal(pair.confirmed, first);
  });

  test("a commit that it has half of is not", async (t) => {
    const pair = await failing(t, 1);
    pair.commit(700_000);
    assert.throws(() => pair.mirror.refresh());
    assert.equal(pair.confirmed, 0);
  });

  test("in the end all are, and the stream has each byte once", async (t) => {
    const pair = await Pair.make(t);
    const before = await pair.streamed.ends();
    const ends = pair.commit(300_000, 1, 1, 300_000, 1);
    pair.mirror.refresh();
    assert.equal(pair.confirmed, ends.at(-1));
    assert.equal((await pair.streamed.ends()).last, before.last + 2);
  });
});
