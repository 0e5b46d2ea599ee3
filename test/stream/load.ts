/** Somebody who appends all the time, keeps what was acknowledged, and says at the end what became of it. */
import assert from "node:assert/strict";
import { codes } from "../../src/errors.ts";
import type { StreamLog } from "../../src/stream/log.ts";
import { until } from "../support/nats.ts";
import { message } from "./messages.ts";

export class Load {
  /** What was acknowledged, by place. */
  readonly acknowledged = new Map<number, Uint8Array>();
  /** How long the slowest append took, in milliseconds. */
  slowest = 0;
  /** How often a deadline passed and the outcome was found out later. */
  doubts = 0;
  readonly #log: StreamLog;
  readonly #size: number;
  /** How long one append may take before it is in doubt, in milliseconds. */
  readonly #deadline: number;
  #last = 0;
  #stopped = false;
  #running: Promise<void> | null = null;

  constructor(log: StreamLog, size = 200, deadline = 30_000) {
    this.#log = log;
    this.#size = size;
    this.#deadline = deadline;
  }

  start(): void {
    this.#running = this.#run();
    this.#running.catch(() => {}); // `stop` says it
  }

  /** Waits for so many more acknowledgements. */
  async more(count: number, within = 60_000): Promise<void> {
    const goal = this.acknowledged.size + count;
    const failed = this.#running?.then(() => undefined);
    const reached = until(within, `${goal} acknowledgements`, () => this.acknowledged.size >= goal);
    await Promise.race([reached, failed]);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Stops, and asserts that all that was acknowledged is there once, and nothing else. */
  async verify(reader: StreamLog): Promise<void> {
    await this.stop();
    const { first, last } = await reader.ends();
    assert.deepEqual({ first, last }, { first: 1, last: this.acknowledged.size });
    const seen = new Set<string>();
    for await (const { sequence, bytes } of reader.read(1, { to: last })) {
      const kept = this.acknowledged.get(sequence) as Uint8Array;
      assert.equal(Buffer.compare(bytes, kept), 0, `message ${sequence} is another`);
      seen.add(Buffer.from(bytes).toString("base64"));
    }
    assert.equal(seen.size, last, "no message twice");
  }

  async #run(): Promise<void> {
    this.#last = (await this.#log.ends()).last;
    while (!this.#stopped) {
      const bytes = message(`m${this.#last + 1}`, this.#size);
      const began = performance.now();
      await this.#append(bytes);
      this.slowest = Math.max(this.slowest, performance.now() - began);
      this.acknowledged.set(++this.#last, bytes);
    }
  }

  /** As often as it takes: the same bytes for the same place. */
  async #append(bytes: Uint8Array): Promise<void> {
    for (;;) {
      try {
        const signal = AbortSignal.timeout(this.#deadline);
        const there = await this.#log.append(bytes, this.#last, signal);
        assert.equal(there, null, "nobody else appends here");
        return;
      } catch (error) {
        const { code } = error as { code?: string };
        if (code !== codes.IN_DOUBT && code !== codes.REPLICA_TIMEOUT) throw error;
        this.doubts++;
      }
    }
  }
}
