/**
 * Where a test's page gets its reports from: the page itself as `page()` gives it, and as server-sent events
 * the report that the test has set, at once and then each second, as the process does it.
 */
import { EventEmitter, once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { page } from "../../src/serve/page.ts";
import type { Snapshot } from "./snapshots.ts";

/** Says `listener` when a page begins to listen. */
export class Source extends EventEmitter<{ listener: [] }> {
  readonly #server = http.createServer((request, response) => this.#answer(request, response));
  readonly #listeners = new Set<http.ServerResponse>();
  readonly #timer = setInterval(() => this.#send(), 1000);
  #snapshot: Snapshot;
  #raw: string | null = null;
  #port = 0;

  private constructor(snapshot: Snapshot) {
    super();
    this.#snapshot = snapshot;
  }

  static async start(snapshot: Snapshot): Promise<Source> {
    const source = new Source(snapshot);
    await source.listen();
    return source;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** From now on this is reported, with the time of each report. */
  report(snapshot: Snapshot): void {
    this.#raw = null;
    this.#snapshot = snapshot;
    this.#send();
  }

  /** From now on this is what a report says, sense or not. */
  reportRaw(text: string): void {
    this.#raw = text;
    this.#send();
  }

  /** The process is there, but says nothing more; or it does again. */
  hang(hangs: boolean): void {
    this.#hangs = hangs;
    this.#send();
  }
  #hangs = false;

  /** The process is gone: its connections break, new ones are refused. */
  async vanish(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    this.#listeners.clear();
    await closed;
  }

  /** At the same address as before, if there was one. */
  async listen(): Promise<void> {
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#server.listening) await this.vanish();
  }

  #answer({ url = "/" }: http.IncomingMessage, response: http.ServerResponse): void {
    if (url === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      response.flushHeaders();
      this.#listeners.add(response);
      this.emit("listener");
      response.on("close", () => this.#listeners.delete(response));
      this.#send();
      return;
    }
    const asset = page(url);
    if (!asset) {
      response.writeHead(404).end();
      return;
    }
    const headers = { "content-type": asset.type, "content-security-policy": "default-src 'self'" };
    response.writeHead(200, headers).end(asset.body);
  }

  #send(): void {
    if (this.#hangs) return;
    const data = this.#raw ?? JSON.stringify({ ...this.#snapshot, at: this.#now() });
    for (const response of this.#listeners) response.write(`event: snapshot\ndata: ${data}\n\n`);
  }

  /** A fixed moment for pictures; else the time that it is. */
  at: string | null = null;

  #now(): string {
    return this.at ?? new Date().toISOString();
  }
}
