/** What a mirror's thread does with what is in the ring, once commits go on without its stream. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
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
    const context = { driver: "node:sqlite" as const, ...rest, primary, addresses: [address] };
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

  /** Commits, and shows the thread the log's frames. */
  commit(): void {
    this.#connection.exec("INSERT INTO t VALUES(1000, 'x')");
    showLog(this.streamed.primary, this.#memory, this.#slots);
  }
}

test("a thread that is waited for sends it, that is how the other can fail", async (t) => {
  const pair = await Pair.make(t);
  const before = await pair.streamed.ends();
  pair.commit();
  pair.mirror.refresh();
  pair.mirror.close(false, "");
  assert.equal((await pair.streamed.ends()).last, before.last + 1);
});

test("a thread that was given up sends nothing of it", async (t) => {
  const pair = await Pair.make(t);
  const before = await pair.streamed.ends();
  pair.mirror.giveUp();
  pair.commit();
  pair.mirror.refresh(); // it has looked into the ring since, or does so before it lets go
  pair.mirror.close(false, "");
  assert.equal((await pair.streamed.ends()).last, before.last);
});
