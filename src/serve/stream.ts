/**
 * `GET /events`: server-sent events, for the page and for whoever wants to be told at once.
 *
 *   event: snapshot   a Snapshot: at once, each second, and whenever something happens
 *   event: event      a RecordedEvent, as it happens. Its id is counted in this process; a client that
 *                     was cut off is sent those after its Last-Event-ID, as far as they are kept
 *
 * A snapshot is put together once for all who listen, and not at all for nobody. Who reads too slowly
 * misses snapshots, not events; who reads nothing for long is let go.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Recorder } from "./recorder.ts";
import { begin, refuse } from "./requests.ts";
import type { RecordedEvent, Snapshot } from "./snapshot.ts";

const EVERY_MS = 1000;
/** How many may listen at the same time. */
const LISTENERS = 64;
/** How much may wait for a listener to read it, in bytes. */
const BACKLOG_BYTES = 8 << 20;

export class Streams {
  readonly #recorder: Recorder;
  readonly #snapshot: () => Snapshot;
  readonly #listeners = new Set<ServerResponse>();
  /** Ids of another process mean nothing here. */
  readonly #process = randomUUID().slice(0, 8);
  readonly #onEvent = (event: RecordedEvent, number: number): void => this.#tell(event, number);
  #timer: NodeJS.Timeout | null = null;
  /** Is a snapshot on its way because something happened? */
  #due = false;

  constructor(recorder: Recorder, snapshot: () => Snapshot, stopping: AbortSignal) {
    this.#recorder = recorder;
    this.#snapshot = snapshot;
    stopping.addEventListener("abort", () => {
      for (const listener of this.#listeners) listener.end();
    });
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.#listeners.size >= LISTENERS) {
      refuse(response, 503, `${LISTENERS} listen already`, { "Retry-After": "10" });
      return;
    }
    begin(response, "text/event-stream; charset=utf-8");
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    response.write(`retry: ${EVERY_MS}\n\n`);
    for (const [event, number] of this.#missed(request.headers["last-event-id"])) {
      response.write(this.#eventText(event, number));
    }
    response.write(textOf("snapshot", this.#snapshot()));
    this.#listeners.add(response);
    response.once("close", () => this.#leave(response));
    if (this.#listeners.size > 1) return;
    this.#recorder.listeners.add(this.#onEvent);
    this.#timer = setInterval(() => this.#show(), EVERY_MS).unref();
  }

  #leave(response: ServerResponse): void {
    this.#listeners.delete(response);
    if (this.#listeners.size > 0) return;
    this.#recorder.listeners.delete(this.#onEvent);
    if (this.#timer) clearInterval(this.#timer);
  }

  #show(): void {
    const text = textOf("snapshot", this.#snapshot());
    for (const listener of this.#listeners) {
      if (listener.writableLength > BACKLOG_BYTES) listener.destroy();
      else if (!listener.writableNeedDrain) listener.write(text);
    }
  }

  /** The replication's status is as the event says when what is under way has ended. */
  #tell(event: RecordedEvent, number: number): void {
    const text = this.#eventText(event, number);
    for (const listener of this.#listeners) listener.write(text);
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => {
      this.#due = false;
      this.#show();
    });
  }

  /** What happened after this id, with the numbers. */
  #missed(lastId: string | string[] | undefined): [RecordedEvent, number][] {
    const [process, number] = String(lastId ?? "").split("-");
    if (process !== this.#process || !/^\d+$/.test(number ?? "")) return [];
    const { events, lastNumber } = this.#recorder;
    const first = lastNumber - events.length + 1;
    return events
      .map((event, i): [RecordedEvent, number] => [event, first + i])
      .filter(([, each]) => each > Number(number));
  }

  #eventText(event: RecordedEvent, number: number): string {
    return `id: ${this.#process}-${number}\n${textOf("event", event)}`;
  }
}

/** JSON has no line ends of its own. */
function textOf(event: string, data: object): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
