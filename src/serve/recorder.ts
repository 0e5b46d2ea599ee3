/** What an observer keeps of the past: ten seconds a sample for an hour, and the newest events. */
import { type Latencies, percentiles, since } from "../histogram.ts";
import type { ReplicationMetrics } from "../metrics.ts";
import type { HealedPage, ReplicationHandle } from "../observe.ts";
import type { Warning } from "../warning.ts";
import { Proofs } from "./proof.ts";
import type { RecordedEvent, Sample } from "./snapshot.ts";

const SECONDS = 10;
const SAMPLES = 3600 / SECONDS;
const MINUTE = 60 / SECONDS;
const EVENTS = 200;

export class Recorder {
  readonly proofs: Proofs;
  readonly #handle: ReplicationHandle;
  readonly #timer: NodeJS.Timeout;
  readonly #samples: Sample[] = [];
  readonly #events: RecordedEvent[] = [];
  /** What was counted at the ends of the last samples. */
  readonly #counted: ReplicationMetrics[];
  /** How many events there were, the forgotten ones too. */
  #last = 0;
  /** Is a checkpoint being put off, and is that said already? */
  #postponed = false;
  /** Called with each event and its number. */
  readonly listeners = new Set<(event: RecordedEvent, number: number) => void>();
  readonly #unlisten: () => void;

  constructor(handle: ReplicationHandle) {
    this.#handle = handle;
    this.#counted = [handle.metrics];
    this.proofs = new Proofs(() => handle.status.replicas);
    this.#timer = setInterval(() => this.sample(), SECONDS * 1000).unref();
    this.#unlisten = this.#listen();
  }

  /** Oldest first. */
  get history(): readonly Sample[] {
    return this.#samples;
  }

  /** Oldest first. */
  get events(): readonly RecordedEvent[] {
    return this.#events;
  }

  /** The number of the newest event; they are numbered from 1. */
  get lastNumber(): number {
    return this.#last;
  }

  /** The syncs of a replica in the last minute; null if there was no such replica then. */
  syncsOfLastMinute(replica: number, now: ReplicationMetrics): Latencies | null {
    const before = this.#counted[0]?.replicas[replica]?.syncLatency;
    const latency = now.replicas[replica]?.syncLatency;
    return before && latency ? since(before, latency) : null;
  }

  /** Ten seconds have passed. */
  sample(): void {
    const now = this.#handle.metrics;
    const before = this.#counted.at(-1) as ReplicationMetrics;
    this.#samples.push({
      at: new Date().toISOString(),
      seconds: SECONDS,
      commits: now.commits - before.commits,
      bytes: now.bytes - before.bytes,
      commitMs: percentiles(since(before.commitLatency, now.commitLatency)),
      syncMs: now.replicas.map(({ syncLatency }, i) => {
        const earlier = before.replicas[i]?.syncLatency;
        return earlier ? percentiles(since(earlier, syncLatency)) : null;
      }),
      logBytes: now.logBytes,
    });
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    this.#counted.push(now);
    if (this.#counted.length > MINUTE) this.#counted.shift();
    this.proofs.refresh();
  }

  /** Puts something on record that is no event of the handle's. */
  note(level: RecordedEvent["level"], what: string, detail: string): void {
    const event = { at: new Date().toISOString(), level, what, detail };
    this.#events.push(event);
    if (this.#events.length > EVENTS) this.#events.shift();
    this.#last++;
    for (const listener of this.listeners) listener(event, this.#last);
  }

  close(): void {
    clearInterval(this.#timer);
    this.proofs.close();
    this.#unlisten();
    this.listeners.clear();
  }

  #listen(): () => void {
    const handle = this.#handle;
    const heard = {
      failed: (error: Error) => this.note("error", "Nothing more is acknowledged", error.message),
      degraded: (path: string, error: Error) =>
        this.note("error", `Commits go on without ${path}`, error.message),
      rejoined: (path: string) => this.note("info", `${path} holds all again`, ""),
      rot: ({ copy, page, owner }: { copy: string; page: number; owner: string | null }) =>
        this.note("error", `Page ${page} of ${copy} has rotted`, owner ?? ""),
      healed: ({ copy, page, healedFrom }: HealedPage) =>
        this.note("info", `Page ${page} of ${copy} is healed`, healedFrom ?? ""),
      checkpoint: () => {
        if (this.#postponed) this.note("info", "The checkpoint that was put off is done", "");
        this.#postponed = false;
      },
      "checkpoint-postponed": (because: string) => {
        if (!this.#postponed)
          this.note("warning", "A checkpoint is put off: the log grows", because);
        this.#postponed = true;
      },
      warning: ({ what, stack }: Warning) => this.note("warning", what, stack ?? ""),
      "warning-over": ({ what }: Warning) => this.note("info", "No more so", what),
    };
    for (const warning of handle.status.warnings) heard.warning(warning);
    const events = Object.entries(heard) as [never, never][];
    for (const [event, listener] of events) handle.on(event, listener);
    return () => {
      for (const [event, listener] of events) handle.off(event, listener);
    };
  }
}
