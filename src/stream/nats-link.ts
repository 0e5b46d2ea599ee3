/**
 * A connection to NATS servers that stays: it finds its way back by itself, and says when it broke.
 * The client is an optional package, loaded when a stream on NATS is named.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection, NodeConnectionOptions } from "@nats-io/transport-node";
import { codes, LockstepError } from "../errors.ts";
import { authenticatorOf, badOption, readSecret } from "./nats-credentials.ts";
import {
  failure,
  isClosed,
  isDenied,
  isTransient,
  noAnswer,
  refusal,
  shutOut,
} from "./nats-errors.ts";
import type { NatsPlace } from "./nats-url.ts";

/** How long one question waits for its answer before it is asked again, in milliseconds. */
export const ATTEMPT_MS = 2000;
/** How long a server may leave all questions unanswered until another one is asked: some choices of a leader, in milliseconds. */
const SILENCE_MS = 5000;

export type Transport = typeof import("@nats-io/transport-node");
type JetStream = typeof import("@nats-io/jetstream");

export class NatsLink {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly transport: Transport;
  /** What the stream is called in messages. */
  readonly shown: string;
  /** Called when the connection was closed for good, and not by us. */
  onLoss: (why: LockstepError) => void = () => {};
  readonly #breaks = new Set<() => void>();
  readonly #returns = new Set<() => void>();
  #isUp = true;
  /** Since when nothing was answered, by the monotonic clock; null: the last question was. */
  #silentSince: number | null = null;
  /** The server that was left for another one, until there is a connection again. */
  #left: string | null = null;
  #closing = false;
  #lost: LockstepError | null = null;

  private constructor(
    shown: string,
    client: { nc: NatsConnection; js: JetStreamClient; jsm: JetStreamManager },
    transport: Transport,
  ) {
    this.shown = shown;
    this.nc = client.nc;
    this.js = client.js;
    this.jsm = client.jsm;
    this.transport = transport;
    void this.#watch();
    void this.nc.closed().then((why) => this.#onClosed(why ?? undefined));
  }

  /**
   * Connects, as often as it takes.
   * @throws LockstepError REPLICA_TIMEOUT if the signal comes first; REPLICA_IO if the servers let this
   *   user not in; BAD_OPTION if the client is not installed, or a file cannot be read
   */
  static async connect(place: NatsPlace, signal: AbortSignal): Promise<NatsLink> {
    const { transport, jetstream } = await load(place.shown);
    const options = optionsOf(place, transport);
    const nc = await connect(transport, options, place.shown, signal);
    const api = { timeout: ATTEMPT_MS };
    const js = jetstream.jetstream(nc, api);
    const jsm = await jetstream.jetstreamManager(nc, { ...api, checkAPI: false });
    return new NatsLink(place.shown, { nc, js, jsm }, transport);
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Why there is no connection any more, or null. */
  get lost(): LockstepError | null {
    return this.#lost;
  }

  /** Resolves when there is a connection, or the signal comes. */
  async up(signal: AbortSignal): Promise<void> {
    if (this.#isUp || this.#lost || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#returns.add(resolve);
    const aborted = (): void => resolve();
    signal.addEventListener("abort", aborted, { once: true });
    await promise;
    signal.removeEventListener("abort", aborted);
    this.#returns.delete(resolve);
  }

  /**
   * Was a question answered? A server that is cut off from the others is there, and knows of nothing: after a while the
   * connection is made to another one.
   */
  heard(isAnswer: boolean): void {
    const now = performance.now();
    this.#silentSince = isAnswer ? null : (this.#silentSince ?? now);
    if (this.#silentSince === null || now - this.#silentSince < SILENCE_MS || !this.#isUp) return;
    this.#silentSince = null;
    this.#left = this.nc.getServer();
    this.nc.reconnect().catch(() => {}); // it is closed: nobody asks any more
  }

  /** Calls when the connection breaks. @returns what ends that */
  onBreak(listener: () => void): () => void {
    this.#breaks.add(listener);
    return () => this.#breaks.delete(listener);
  }

  /**
   * One question. A break of the connection and the signal end it at once; the client would wait for
   * an answer that cannot come.
   */
  async once<T>(question: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const broke = (): void => reject(noAnswer(this.shown, "The connection broke"));
    const aborted = (): void => reject(noAnswer(this.shown, "The stream was asked"));
    const off = this.onBreak(broke);
    signal.addEventListener("abort", aborted, { once: true });
    try {
      if (signal.aborted) aborted();
      else question().then(resolve, reject);
      return await promise;
    } finally {
      off();
      signal.removeEventListener("abort", aborted);
    }
  }

  /**
   * Asks until there is an answer. For questions that do no harm when they are asked twice.
   * @throws LockstepError REPLICA_TIMEOUT if the signal comes first; else whatever is no matter of time
   */
  async ask<T>(what: string, question: () => Promise<T>, signal: AbortSignal): Promise<T> {
    let last: unknown;
    while (!signal.aborted) {
      await this.up(signal);
      if (this.#lost) throw this.#lost;
      try {
        const answer = await this.once(question, signal);
        this.heard(true);
        return answer;
      } catch (error) {
        if (!mayAskAgain(error)) throw error;
        this.heard(false);
        if (!(error instanceof LockstepError)) last = error;
      }
      await pause(signal);
    }
    throw noAnswer(this.shown, what, last);
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.nc.close();
  }

  async #watch(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === "disconnect") {
        this.#isUp = false;
        for (const each of [...this.#breaks]) each();
      } else if (status.type === "reconnect") {
        this.#isUp = true;
        this.#silentSince = null;
        const isSame = status.server === this.#left;
        this.#left = null;
        if (isSame) this.nc.reconnect().catch(() => {}); // the client begins with the first in its list
        for (const each of [...this.#returns]) each();
      }
    }
  }

  #onClosed(why: Error | undefined): void {
    this.#isUp = false;
    // The client gives up when it is let in no more, and for nothing else: what it says then may be something else.
    this.#lost = this.#closing
      ? refusal(why ?? new Error("the connection was closed"), this.shown)
      : shutOut(this.shown, why);
    for (const each of [...this.#breaks, ...this.#returns]) each();
    if (!this.#closing) this.onLoss(this.#lost);
  }
}

/**
 * A connection of the place's user of the system account; null if it names none.
 * @throws LockstepError as `NatsLink.connect`
 */
export async function connectAsSystem(
  place: NatsPlace,
  signal: AbortSignal,
): Promise<NatsConnection | null> {
  const { system, systemCreds: creds, shown } = place;
  if (system === null && creds === null) return null;
  const { transport } = await load(shown);
  const { user = null, password = null } = system ?? {};
  const who = { ...place, user, password, token: null, creds, nkey: null, inbox: null };
  const options = optionsOf(who, transport, "systemCreds");
  try {
    return await connect(transport, options, shown, signal);
  } catch (error) {
    if (!isDenied(error)) throw error;
    const what = "The servers do not let the user of their system account in";
    throw failure(codes.REPLICA_IO, shown, what, error);
  }
}

/** No answer, by the client's account or by ours. */
export function mayAskAgain(error: unknown): boolean {
  return isTransient(error) && !isClosed(error);
}

/** Between two attempts. */
export async function pause(signal: AbortSignal): Promise<void> {
  await delay(PAUSE_MS, null, { signal }).catch(() => {});
}

// --- internal ---

const PAUSE_MS = 100;

/** What keeps a broken connection from being noticed late, or given up: docs/nats.md. */
const ALWAYS: NodeConnectionOptions = {
  maxReconnectAttempts: -1,
  reconnectTimeWait: 100,
  pingInterval: 1000,
  maxPingOut: 2,
  timeout: 2000,
  noAsyncTraces: true,
  name: "lockstep",
};

async function connect(
  transport: Transport,
  options: NodeConnectionOptions,
  shown: string,
  signal: AbortSignal,
): Promise<NatsConnection> {
  let last: unknown;
  while (!signal.aborted) {
    try {
      // Each server once; the client's own waiting for the first connection cannot be ended.
      const nc = await transport.connect(options);
      if (!signal.aborted) return nc;
      await nc.close();
    } catch (error) {
      if (isDenied(error)) throw refusal(error, shown);
      last = error;
    }
    await pause(signal);
  }
  throw noAnswer(shown, "The servers were called", last);
}

/** @param creds the setting from which the credentials are */
function optionsOf(
  place: NatsPlace,
  transport: Transport,
  creds: "creds" | "systemCreds" = "creds",
): NodeConnectionOptions {
  const { user, password, token, tls } = place;
  const authenticator = authenticatorOf(place, transport, creds);
  return {
    ...ALWAYS,
    servers: [...place.servers],
    ...(user === null ? {} : { user, pass: password ?? "" }),
    ...(token === null ? {} : { token }),
    ...(authenticator === null ? {} : { authenticator }),
    ...(place.inbox === null ? {} : { inboxPrefix: place.inbox }),
    // Even an empty object: then a server that does not encrypt is refused.
    ...(tls === null ? {} : { tls: tlsOf(tls) }),
  };
}

function tlsOf({ ca, cert, key }: NonNullable<NatsPlace["tls"]>): object {
  const text = (file: string, what: string): string =>
    Buffer.from(readSecret(file, what)).toString("utf8");
  return {
    ...(ca === null ? {} : { ca: text(ca, "ca") }),
    ...(cert === null ? {} : { cert: text(cert, "cert") }),
    ...(key === null ? {} : { key: text(key, "key") }),
  };
}

async function load(shown: string): Promise<{ transport: Transport; jetstream: JetStream }> {
  try {
    return {
      transport: await import("@nats-io/transport-node"),
      jetstream: await import("@nats-io/jetstream"),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw badOption(
      `${shown} is a stream on NATS, and the client is not installed`,
      "npm install @nats-io/transport-node @nats-io/jetstream",
    );
  }
}
