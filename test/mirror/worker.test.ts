/** What a mirror's thread does with what is in the ring, once commits go on without its replica. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { type TestContext, test } from "node:test";
import { type Connection, loadDriver } from "../../src/driver.ts";
import { Mirror } from "../../src/gate/mirror.ts";
import { allocate, type SharedMemory, Slots } from "../../src/gate/slots.ts";
import { Scene } from "../support/scene.ts";
import { showLog } from "./ring-log.ts";

const RING_BYTES = 1 << 20;

/** A replica at rest that is attached, and a primary whose next commits are put into the ring. */
class Pair {
  readonly replica: string;
  readonly primary: string;
  readonly mirror: Mirror;
  readonly #memory: SharedMemory = allocate(1, RING_BYTES);
  readonly #slots = new Slots(this.#memory);
  readonly #connection: Connection;

  constructor(t: TestContext) {
    const scene = Scene.make(t);
    scene.life((db) => db.put());
    this.replica = scene.replica;
    this.primary = scene.primary;
    this.#connection = loadDriver("node:sqlite").open(scene.primary);
    const rest = { memory: this.#memory, slots: this.#slots, timeout: 20_000, onProgress: null };
    const where = { primary: scene.primary, addresses: [scene.replica] };
    this.mirror = new Mirror(
      { driver: "node:sqlite", ...rest, ...where, known: () => 0 },
      scene.replica,
      0,
      null,
    );
    this.mirror.look();
    this.mirror.attach(1);
    this.mirror.attachedAt();
    t.after(() => {
      this.mirror.close(false, "");
      this.#connection.close();
    });
  }

  /** Commits, and shows the thread the log's frames. */
  commit(): void {
    this.#connection.exec("INSERT INTO t VALUES(1000, 'x')");
    showLog(this.primary, this.#memory, this.#slots);
  }

  /** How much was written to the replica's log. */
  get written(): number {
    return fs.statSync(`${this.replica}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  }
}

test("a thread that is waited for writes it, that is how the others can fail", (t) => {
  const pair = new Pair(t);
  pair.commit();
  pair.mirror.refresh();
  pair.mirror.close(false, "");
  assert.ok(pair.written > 0);
});

test("a thread that was given up writes nothing of it", (t) => {
  const pair = new Pair(t);
  pair.mirror.giveUp();
  pair.commit();
  pair.mirror.refresh(); // it has looked into the ring since, or does so before it lets go
  pair.mirror.close(false, "");
  assert.equal(pair.written, 0);
});

test("a thread that is dismissed while it is busy gives up what it does, and writes nothing of it", (t) => {
  const pair = new Pair(t);
  const { primary, mirror } = pair;
  mirror.post({ type: "compare", primary, frame: null });
  mirror.dismiss("failed");
  pair.commit();
  mirror.waitUntilGone(20_000);
  assert.equal(pair.written, 0);
});
