/**
 * `lockstep/observe`: what is to be seen of a replication, for people and for other programs.
 */
import "../node-version.ts";
import { codes, LockstepError } from "../errors.ts";
import type { ReplicationHandle } from "../observe.ts";
import { prometheusText, type Reading } from "../serve/prometheus.ts";
import { Recorder } from "../serve/recorder.ts";
import { type Served, type ServeOptions, serve } from "../serve/server.ts";
import { type Snapshot, snapshotOf } from "../serve/snapshot.ts";
import { type Log, logEvents, toStderr } from "./log.ts";

export type { ChannelMessages, ChannelName } from "../channels.ts";
export type { Percentiles } from "../histogram.ts";
export type { Served, ServeOptions } from "../serve/server.ts";
export type {
  Failure,
  Reason,
  RecordedEvent,
  Sample,
  Snapshot,
  SnapshotReplica,
} from "../serve/snapshot.ts";
export type { Warning, WarningKind } from "../warning.ts";
export type { Log };

/** What `listen` needs is in `ServeOptions`. */
export interface ObserveOptions extends Partial<ServeOptions> {
  /** Called with a line of JSON for each event; `true`: they go to stderr. Default: nobody is told. */
  readonly log?: Log | boolean | undefined;
}

/** A database that is open, or its `replication`. */
export type Observable = ReplicationHandle | { readonly replication: ReplicationHandle | null };

/**
 * Watches a replication from now on: a sample each ten seconds, the events, and if that is asked for a
 * server and a log. One line does: `await observe(db, { listen: "127.0.0.1:9090" })`.
 *
 * It keeps no process alive, and ends with `close()`.
 *
 * @throws LockstepError BAD_OPTION if it is not replicated, or an option is wrong; ENDPOINT
 */
export async function observe(
  observable: Observable,
  { listen, allowRemote, hosts, log }: ObserveOptions = {},
): Promise<Observation> {
  const handle = "replication" in observable ? observable.replication : observable;
  if (!handle) throw notReplicated();
  const recorder = new Recorder(handle);
  let server: Served | null = null;
  try {
    if (listen !== undefined)
      server = await serve(handle, { listen, allowRemote, hosts }, recorder);
    const write = log === true ? toStderr : log;
    const unlog = write ? logEvents(handle, write) : () => {};
    return new Observation(handle, recorder, server, unlog);
  } catch (error) {
    recorder.close();
    await server?.close();
    throw error;
  }
}

/** The text that Prometheus scrapes, of several databases at once: for a server of the application's own. */
export function metricsText(...observations: readonly Observation[]): string {
  return prometheusText(observations.map((each) => each.reading));
}

export class Observation {
  readonly #handle: ReplicationHandle;
  readonly #recorder: Recorder;
  readonly #server: Served | null;
  readonly #unlog: () => void;

  /** @internal */
  constructor(
    handle: ReplicationHandle,
    recorder: Recorder,
    server: Served | null,
    unlog: () => void,
  ) {
    this.#handle = handle;
    this.#recorder = recorder;
    this.#server = server;
    this.#unlog = unlog;
  }

  /** Where it listens: a socket's path, or `HOST:PORT`; null if it does not. */
  get address(): string | null {
    return this.#server?.address ?? null;
  }

  /** What `/status.json` says. */
  get snapshot(): Snapshot {
    return snapshotOf(this.#handle, this.#recorder);
  }

  /** @internal */
  get reading(): Reading {
    const { metrics, status } = this.#handle;
    const { rot, healed } = status;
    return { snapshot: this.snapshot, metrics, rot: rot.length, healed };
  }

  /** Stops watching, and listening: who waits there is told. Replication goes on. */
  async close(): Promise<void> {
    this.#unlog();
    this.#recorder.close();
    await this.#server?.close();
  }
}

function notReplicated(): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: "The database is not replicated, or not open: there is nothing to observe",
    state: "Nothing was changed",
    next: "Open it with the option `replicas`, and observe it while it is open",
  });
}
