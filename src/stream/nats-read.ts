/**
 * Reads a stream on NATS in order and without a gap. The servers push messages through a consumer,
 * which may lose some when a connection breaks, and dies with its server: then a new one begins at the
 * first message that is missing. Only what a new one does not have either is missing in the stream.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import { codes } from "../errors.ts";
import type { Entry } from "./log.ts";
import { failure, isNoStream, refusal } from "./nats-errors.ts";
import { mayAskAgain } from "./nats-link.ts";
import type { NatsStream } from "./nats-stream.ts";

/**
 * @param to the last to be read, or null: go on with what comes
 * @param signal ends it: with `to` as an error, without as the end
 * @see StreamLog.read
 */
export async function* readMessages(
  stream: NatsStream,
  first: number,
  { to }: { readonly to: number | null },
  signal: AbortSignal,
): AsyncGenerator<Entry, void, undefined> {
  let next = first;
  for (let misses = 0; to === null || next <= to; ) {
    if (signal.aborted && to === null) return;
    let feed: Feed | null;
    try {
      await isThere(stream, next, signal);
      feed = await Feed.open(stream, next, signal);
    } catch (error) {
      if (signal.aborted && to === null) return;
      throw refusal(error, stream.shown);
    }
    if (feed === null) continue; // what it was to be made of changed meanwhile
    const began = next;
    try {
      for await (const message of feed.messages(signal)) {
        if (message.seq > next) break;
        if (message.seq < next) continue;
        yield { sequence: next, bytes: message.data, time: message.time };
        next++;
        if (to !== null && next > to) return;
      }
    } finally {
      feed.close();
    }
    // A consumer that has not even the first one, thrice: then it is not there.
    misses = next === began && feed.sawLater ? misses + 1 : 0;
    if (misses === MISSES_MAX) throw missing(stream, next);
    await delay(PAUSE_MS, null, { signal }).catch(() => {});
  }
}

// --- internal ---

const PAUSE_MS = 50;
const MISSES_MAX = 3;

/** How many bytes the servers may send ahead of what was read. */
const AHEAD_BYTES = 8 << 20;
const HEARTBEAT_MS = 1000;

/** What a consumer says when it is of no use any more. */
const ENDS: ReadonlySet<string> = new Set([
  ...["heartbeats_missed", "consumer_deleted", "consumer_not_found"],
  ...["stream_not_found", "no_responders", "exceeded_limits"],
]);

/** @throws LockstepError REPLICA_GONE if it was removed; REWOUND, REPLICA_TIMEOUT */
async function isThere(stream: NatsStream, next: number, signal: AbortSignal): Promise<void> {
  const { first } = await stream.ends(next - 1, signal);
  if (next >= first) return;
  const what = `Message ${next} was removed: the stream begins at ${first}`;
  throw failure(codes.REPLICA_GONE, stream.shown, what);
}

function missing(stream: NatsStream, sequence: number): Error {
  const what = `Message ${sequence} of the stream is missing, and later ones are there`;
  return failure(codes.REPLICA_CHANGED, stream.shown, what);
}

/** A consumer, from a message on. */
class Feed {
  readonly #stream: NatsStream;
  readonly #name: string;
  readonly #first: number;
  readonly #messages: ConsumerMessages;
  /** Its first message was a later one than it was to begin with. */
  sawLater = false;

  private constructor(stream: NatsStream, name: string, first: number, messages: ConsumerMessages) {
    this.#stream = stream;
    this.#name = name;
    this.#first = first;
    this.#messages = messages;
  }

  /** Null if the stream was not there at this moment. */
  static async open(stream: NatsStream, first: number, signal: AbortSignal): Promise<Feed | null> {
    const { link, name } = stream;
    const { nanos } = link.transport;
    const config = {
      deliver_policy: "by_start_sequence" as const,
      opt_start_seq: first,
      ack_policy: "none" as const,
      ...{ mem_storage: true, num_replicas: 1, inactive_threshold: nanos(60_000) },
    };
    const make = () => link.jsm.consumers.add(name, config);
    try {
      const info = await link.ask("The stream was to be read", make, signal);
      const consumer = link.js.consumers.getConsumerFromInfo(info);
      const messages = await consumer.consume({
        ...{ max_bytes: AHEAD_BYTES, expires: 30_000, idle_heartbeat: HEARTBEAT_MS },
        abort_on_missing_resource: true,
      });
      return new Feed(stream, info.name, first, messages);
    } catch (error) {
      if (isNoStream(error)) return null;
      throw error;
    }
  }

  /** What comes, until it ends for whatever reason. */
  async *messages(signal: AbortSignal): AsyncGenerator<JsMsg, void, undefined> {
    const stop = (): void => void this.#messages.close();
    const off = this.#stream.link.onBreak(stop);
    signal.addEventListener("abort", stop, { once: true });
    void this.#stopAtItsEnd();
    let isFirst = true;
    try {
      if (signal.aborted) return;
      for await (const message of this.#messages) {
        if (isFirst) this.sawLater = message.seq > this.#first;
        isFirst = false;
        yield message;
        if (signal.aborted) return;
      }
    } catch (error) {
      if (!mayAskAgain(error) && !isEnd(error)) throw error;
    } finally {
      off();
      signal.removeEventListener("abort", stop);
    }
  }

  close(): void {
    const { link, name } = this.#stream;
    void this.#messages.close();
    // Nobody waits for it: the servers remove it by themselves when nobody asks any more.
    link.jsm.consumers.delete(name, this.#name).catch(() => {});
  }

  async #stopAtItsEnd(): Promise<void> {
    for await (const { type } of this.#messages.status()) {
      if (ENDS.has(type)) void this.#messages.close();
    }
  }
}

/** The consumer or its stream is gone: the next one finds out which. */
function isEnd(error: unknown): boolean {
  return error instanceof Error && /^JetStream/.test(error.name);
}
