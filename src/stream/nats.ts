/**
 * A stream on NATS JetStream servers: the log is a stream, the objects are a bucket beside it
 * (nats-layout.ts). Nothing is made here that is missing: `lockstep init` does that (nats-admin.ts).
 */
import { setTimeout as delay } from "node:timers/promises";
import type { LockstepError } from "../errors.ts";
import { invariant } from "../invariant.ts";
import type { Ends, Entry, StreamLog } from "./log.ts";
import { refusal } from "./nats-errors.ts";
import { HEADERS_MAX, MESSAGE_MAX } from "./nats-layout.ts";
import { NatsLink } from "./nats-link.ts";
import { NatsObjects } from "./nats-objects.ts";
import { append, force } from "./nats-publish.ts";
import { readMessages } from "./nats-read.ts";
import { NatsStream } from "./nats-stream.ts";
import { type NatsPlace, parseNatsUrl } from "./nats-url.ts";

export interface NatsLogOptions {
  /** How long what takes no signal waits for an answer, in milliseconds. Default 30000. */
  readonly timeout?: number;
  /**
   * The last message that it has acknowledged, as far as that is on record. A server that leads no more, and does not
   * know that yet, may say that it ends earlier: it is asked again for a while. Default 0.
   */
  readonly known?: number;
}

export class NatsLog implements StreamLog {
  readonly name: string;
  readonly maxBytes: number;
  onLoss: (why: LockstepError) => void = () => {};
  /** Its connection, for questions of administration. */
  readonly link: NatsLink;
  readonly #stream: NatsStream;
  readonly #objects: NatsObjects;
  readonly #timeout: number;
  readonly #closed = new AbortController();
  #appending = false;

  private constructor(place: NatsPlace, stream: NatsStream, timeout: number) {
    this.link = stream.link;
    this.name = place.shown;
    this.#stream = stream;
    this.#objects = new NatsObjects(stream.link, place.name);
    this.#timeout = timeout;
    this.maxBytes = largest(stream);
    stream.link.onLoss = (why) => this.onLoss(why);
    void this.#watch();
  }

  /**
   * @param url nats://…, see nats-url.ts
   * @throws LockstepError BAD_OPTION, REPLICA_GONE if there is no such stream, REPLICA_IO if the servers
   *   do not let this user in, REPLICA_TIMEOUT if the signal comes first
   */
  static async open(
    url: string,
    signal: AbortSignal,
    { timeout = 30_000, known = 0 }: NatsLogOptions = {},
  ): Promise<NatsLog> {
    const place = parseNatsUrl(url);
    const link = await NatsLink.connect(place, signal);
    try {
      const stream = await NatsStream.open(link, place.name, signal);
      // One that is empty was made anew: that is for the caller to judge.
      if (known > 0 && (await stream.ends(0, signal)).last > 0) stream.acknowledged = known;
      return new NatsLog(place, stream, timeout);
    } catch (error) {
      await link.close();
      throw refusal(error, place.shown);
    }
  }

  async ends(): Promise<Ends> {
    return await this.#ask((signal) => this.#stream.ends(this.#stream.acknowledged, signal));
  }

  async at(sequence: number): Promise<Entry | null> {
    return await this.#ask((signal) =>
      this.link.ask("A message was looked for", () => this.#stream.find(sequence, signal), signal),
    );
  }

  async *read(
    first: number,
    until: { readonly to: number } | { readonly live: AbortSignal },
  ): AsyncGenerator<Entry, void, undefined> {
    if ("live" in until) {
      yield* readMessages(this.#stream, first, { to: null }, until.live);
      return;
    }
    // The time is for the servers, not for whoever takes what they send: it begins anew with each message.
    const idle = new Idle(this.#timeout);
    try {
      for await (const entry of readMessages(this.#stream, first, until, idle.signal)) {
        idle.pause();
        yield entry;
        idle.start();
      }
    } finally {
      idle.pause();
    }
  }

  async append(bytes: Uint8Array, after: number, signal: AbortSignal): Promise<Entry | null> {
    return await this.#alone(bytes, () => append(this.#stream, bytes, after, signal));
  }

  async force(bytes: Uint8Array, signal: AbortSignal): Promise<number> {
    return await this.#alone(bytes, () => force(this.#stream, bytes, signal));
  }

  async purge(before: number): Promise<void> {
    await this.#ask((signal) => this.#stream.purge(before, signal));
  }

  async put(name: string, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    await this.#objects.put(name, chunks, signal);
  }

  get(name: string): AsyncIterable<Uint8Array> {
    return this.#objects.get(name, this.#timeout);
  }

  async objects(): Promise<readonly string[]> {
    return await this.#ask((signal) => this.#objects.names(signal));
  }

  async remove(name: string): Promise<void> {
    await this.#ask((signal) => this.#objects.remove(name, signal));
  }

  async sweep(before: Date): Promise<number> {
    return await this.#ask((signal) => this.#objects.sweep(before, signal));
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.link.close();
  }

  async #ask<T>(question: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await question(AbortSignal.timeout(this.#timeout));
    } catch (error) {
      throw refusal(error, this.name);
    }
  }

  /** One message is on its way at a time. */
  async #alone<T>(bytes: Uint8Array, send: () => Promise<T>): Promise<T> {
    const { maxBytes } = this;
    invariant(bytes.length <= maxBytes, "a message fits", { bytes: bytes.length, maxBytes });
    invariant(!this.#appending, "one message is on its way at a time");
    this.#appending = true;
    try {
      return await send();
    } finally {
      this.#appending = false;
    }
  }

  /** Looks now and then whether the stream is still there: while nothing is written nobody else would. */
  async #watch(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await delay(WATCH_MS, null, { signal, ref: false }).catch(() => {});
      if (signal.aborted || this.#appending || !this.link.isUp) continue;
      const info = await this.#stream.glance(signal);
      if (info === null) continue;
      try {
        if (info === "missing") await this.#stream.ends(0, signal);
        else if (this.#stream.changed(info)) throw this.#stream.madeAnew(info);
        else continue;
      } catch (error) {
        if (signal.aborted) return;
        this.onLoss(refusal(error, this.name));
        return;
      }
    }
  }
}

// --- internal ---

const WATCH_MS = 5000;

/** Aborts when it was not paused for too long. */
class Idle {
  readonly #ended = new AbortController();
  readonly #after: number;
  #timer: NodeJS.Timeout;

  constructor(after: number) {
    this.#after = after;
    this.#timer = setTimeout(() => this.#ended.abort(), after);
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  pause(): void {
    clearTimeout(this.#timer);
  }

  start(): void {
    this.pause();
    this.#timer = setTimeout(() => this.#ended.abort(), this.#after);
  }
}

/** What the stream and the server that we are connected to take; headers count. */
function largest({ config, link }: NatsStream): number {
  const server = link.nc.info?.max_payload ?? MESSAGE_MAX;
  const stream = config.max_msg_size > 0 ? config.max_msg_size : server;
  return Math.min(server, stream) - HEADERS_MAX;
}
