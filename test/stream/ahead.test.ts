/** Reading ahead: what is there comes in order, so much and no more of it waits, and nothing is read behind an end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Ahead } from "../../src/stream/ahead.ts";

/** Numbers from 1, and what became of their source. */
class Source {
  asked = 0;
  isClosed = false;

  async *numbers(to: number, error?: Error): AsyncGenerator<number> {
    try {
      while (this.asked < to) {
        await turn();
        yield ++this.asked;
      }
      if (error) throw error;
    } finally {
      this.isClosed = true;
    }
  }
}

const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await turn();
};

test("everything comes, in order, whoever is faster", async () => {
  for (const patience of [0, 3]) {
    const source = new Source();
    const found: number[] = [];
    for await (const each of new Ahead(source.numbers(50), () => 10, 35)) {
      await turns(patience);
      found.push(each);
      assert.ok(source.asked <= each + 5, `${source.asked} were read when ${each} came`);
    }
    assert.deepEqual(
      found,
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
    assert.ok(source.isClosed);
  }
});

test("reading begins before anybody wants it, and waits when there is enough", async () => {
  const source = new Source();
  const ahead = new Ahead(source.numbers(50), () => 10, 35);
  await turns(30);
  assert.equal(source.asked, 4);
  for await (const each of ahead) {
    if (each < 2) continue;
    await turns(30);
    assert.equal(source.asked, 6);
    break;
  }
  assert.ok(source.isClosed, "who ends early ends the source");
});

test("an error comes behind what came before it, and harms nobody who does not come to it", async () => {
  const source = new Source();
  const found: number[] = [];
  const reading = (async () => {
    for await (const each of new Ahead(source.numbers(3, new Error("torn")), () => 1, 100)) {
      await turns(5);
      found.push(each);
    }
  })();
  await assert.rejects(reading, /^Error: torn$/);
  assert.deepEqual(found, [1, 2, 3]);
  const unread = new Ahead(new Source().numbers(3, new Error("unseen")), () => 1, 100);
  await turns(10);
  await unread.stop();
});

test("stopped, the source is closed, in whatever it was", async () => {
  for (const before of [0, 1, 30]) {
    const source = new Source();
    const ahead = new Ahead(source.numbers(50), () => 10, 35);
    await turns(before);
    await ahead.stop();
    assert.ok(source.isClosed);
    const { asked } = source;
    await turns(10);
    assert.equal(source.asked, asked);
  }
});
