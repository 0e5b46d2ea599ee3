/**
 * A stream on NATS servers as its log sees it: where it ends, what stands in a place, and whether it
 * is still the stream that was opened.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { StreamConfig, StreamInfo } from "@nats-io/jetstream";
import type { LockstepError } from "../errors.ts";
import { invariant } from "../invariant.ts";
import type { Ends, Entry } from "./log.ts";
import { isNoStream, noStream, rewound } from "./nats-errors.ts";
import { streamName, subjectOf } from "./nats-layout.ts";
import { mayAskAgain, type NatsLink } from "./nats-link.ts";

/**
 * How long a stream must be said to end too early before that is believed, in milliseconds. A server
 * that was cut off answers for a while as if it still led; it has given that up after ten seconds.
 */
export const REWOUND_MS = 15_000;

/** The same of a stream that is said to be missing: servers that just started may not know it yet. */
export const GONE_MS = 5_000;

export class NatsStream {
  readonly link: NatsLink;
  readonly name: string;
  readonly subject: string;
  readonly config: StreamConfig;
  /** When it was made: one of the same name that was made anew is another. */
  readonly #created: string;
  /** The highest place that it has acknowledged here. */
  acknowledged = 0;

  private constructor(link: NatsLink, database: string, info: StreamInfo) {
    this.link = link;
    this.name = info.config.name;
    this.subject = subjectOf(database);
    this.config = info.config;
    this.#created = info.created;
  }

  /** @throws LockstepError REPLICA_GONE if there is none: it is never made here; REPLICA_TIMEOUT */
  static async open(link: NatsLink, database: string, signal: AbortSignal): Promise<NatsStream> {
    const info = await infoOf(link, streamName(database), signal);
    return new NatsStream(link, database, info);
  }

  get shown(): string {
    return this.link.shown;
  }

  /** Says that it was made anew, if it was. */
  changed(info: StreamInfo): boolean {
    return info.created !== this.#created;
  }

  /**
   * Where it begins and ends, by the server that leads it.
   * @param least where it must end or later
   * @throws LockstepError REWOUND, REPLICA_GONE; REPLICA_TIMEOUT if the signal comes first
   */
  async ends(least: number, signal: AbortSignal): Promise<Ends> {
    for (let since: number | null = null; ; ) {
      const info = await infoOf(this.link, this.name, signal);
      if (this.changed(info)) throw this.madeAnew(info); // durable: one made anew ends elsewhere
      const { messages, first_seq, last_seq: last } = info.state;
      if (last >= least) return { first: messages === 0 ? last + 1 : first_seq, last };
      const now = performance.now();
      since ??= now;
      if (now - since > REWOUND_MS) throw this.endsEarly(last, least);
      await delay(SHORT_MS, null, { signal }).catch(() => {});
    }
  }

  /** What it says of itself at this moment; null if nobody answers. */
  async glance(signal: AbortSignal): Promise<StreamInfo | "missing" | null> {
    const { link, name } = this;
    try {
      return await link.once(() => link.jsm.streams.info(name), signal);
    } catch (error) {
      return isNoStream(error) ? "missing" : null;
    }
  }

  /**
   * Looks for a message: with the server that leads, then with any. Those that follow hold only what
   * was decided, so what they have is there; what nobody has may be on its way.
   * @throws what is no matter of time; and if nobody answered, that
   */
  async find(sequence: number, signal: AbortSignal): Promise<Entry | null> {
    const { link, name } = this;
    const asked = { seq: sequence };
    let silence: unknown = null;
    try {
      const found = await link.once(() => link.jsm.streams.getMessage(name, asked), signal);
      if (found) return { sequence: found.seq, bytes: found.data, time: found.time };
    } catch (error) {
      if (!mayAskAgain(error)) throw error;
      silence = error;
    }
    try {
      const found = await link.once(() => link.jsm.direct.getMessage(name, asked), signal);
      if (found) return { sequence: found.seq, bytes: found.data, time: found.time };
    } catch (error) {
      throw silence ?? error;
    }
    return null;
  }

  /**
   * Removes the messages before this one: in steps, since servers that remove much at once answer
   * nobody meanwhile.
   */
  async purge(before: number, signal: AbortSignal): Promise<void> {
    const { first, last } = await this.ends(this.acknowledged, signal);
    // Beyond its end the servers would leave numbers out.
    invariant(before <= last + 1, "what is removed is there", { before, last });
    for (let seq = first; seq < before; ) {
      seq = Math.min(before, seq + PURGE_STEP);
      const step = { seq };
      const purge = () => this.link.jsm.streams.purge(this.name, step);
      await this.link.ask("Messages were to be removed", purge, signal);
    }
  }

  madeAnew(info: StreamInfo): LockstepError {
    return rewound(this.shown, `The stream was made anew at ${info.created}`);
  }

  endsEarly(last: number, least: number): LockstepError {
    return rewound(this.shown, `The stream ends at message ${last}, and held ${least}`);
  }
}

/**
 * @param subjects count the messages of these, too
 * @throws LockstepError REPLICA_GONE if there is no such stream; REPLICA_TIMEOUT
 */
export async function infoOf(
  link: NatsLink,
  name: string,
  signal: AbortSignal,
  subjects?: string,
): Promise<StreamInfo> {
  const asked = subjects === undefined ? {} : { subjects_filter: subjects };
  for (let since: number | null = null; ; ) {
    try {
      return await link.ask(
        "The state of the stream was asked for",
        () => link.jsm.streams.info(name, { ...asked }),
        signal,
      );
    } catch (error) {
      if (!isNoStream(error)) throw error;
      const now = performance.now();
      since ??= now;
      if (now - since > GONE_MS) throw noStream(link.shown, error);
    }
    await delay(SHORT_MS, null, { signal }).catch(() => {});
  }
}

// --- internal ---

/** Some 32 MB of the largest messages. */
const PURGE_STEP = 64;

/** Between two questions about the same oddity. */
const SHORT_MS = 250;
