/**
 * The server that shows a replication to others, on this machine:
 *
 *   POST /durable      durable.ts         GET /status.json   snapshot.ts
 *   GET  /metrics      prometheus.ts      GET /events        stream.ts
 *   GET  /healthz      here               GET /, …           the page, page.ts
 *
 * Everything else is refused. It keeps no process alive, and its answers hold no commit up longer than it
 * takes to put them together. `GET` is `HEAD`, too.
 */
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type net from "node:net";
import type { ReplicationHandle } from "../observe.ts";
import { formatAddress, parseAddress } from "./address.ts";
import { answerDurable } from "./durable.ts";
import { page } from "./page.ts";
import { PROMETHEUS_TYPE, prometheusText } from "./prometheus.ts";
import type { Recorder } from "./recorder.ts";
import { foreignness, refuse, send, sendJson } from "./requests.ts";
import { snapshotOf } from "./snapshot.ts";
import { listenOnPort, listenOnSocket } from "./socket.ts";
import { Streams } from "./stream.ts";

export interface ServeOptions {
  /** A unix socket's path, with a slash in it, or `127.0.0.1:PORT`; port 0: any that is free. */
  readonly listen: string;
  /**
   * May it be an address that other machines reach? Nothing is encrypted, and everybody who reaches it may
   * ask. Default false.
   */
  readonly allowRemote?: boolean | undefined;
  /** Names under which it is reached, besides IP addresses and localhost. Default: none. */
  readonly hosts?: readonly string[] | undefined;
}

export interface Served {
  /** Where it listens: the socket's path, or `HOST:PORT` with the port that it has. */
  readonly address: string;
  /** Stops at once: who waits is told. Resolves when nothing of it is left. */
  close(): Promise<void>;
}

/** How many may be connected, and how long a request may take to arrive, in milliseconds. */
const CONNECTIONS = 1024;
const ARRIVAL_MS = 10_000;
const HEADER_BYTES = 8192;
/** How long an answer may take to leave when the server stops. */
const LEAVE_MS = 200;

/**
 * @param recorder what is known of the past; closed by whoever made it
 * @throws LockstepError BAD_OPTION, ENDPOINT
 */
export async function serve(
  handle: ReplicationHandle,
  { listen, allowRemote = false, hosts = [] }: ServeOptions,
  recorder: Recorder,
): Promise<Served> {
  const address = parseAddress(listen, allowRemote);
  const stopping = new AbortController();
  const known = hosts.map((host) => host.toLowerCase());
  const routes = new Routes(handle, recorder, stopping.signal, known);
  const server = http.createServer(
    { maxHeaderSize: HEADER_BYTES, requestTimeout: ARRIVAL_MS, headersTimeout: ARRIVAL_MS },
    (request, response) => routes.answer(request, response),
  );
  server.maxConnections = CONNECTIONS;
  server.on("connection", (socket) => socket.unref());
  let unlink = (): void => {};
  if (address.kind === "socket") unlink = await listenOnSocket(server, address.path);
  else await listenOnPort(server, address.host, address.port);
  server.unref();
  process.once("exit", unlink);
  const port = (server.address() as net.AddressInfo | null)?.port ?? 0;
  const at = address.kind === "port" ? { ...address, port } : address;
  let closed: Promise<void> | null = null;
  return {
    address: formatAddress(at),
    close() {
      closed ??= stop(server, stopping).finally(() => {
        process.off("exit", unlink);
        unlink();
      });
      return closed;
    },
  };
}

function stop(server: http.Server, stopping: AbortController): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(() => server.closeAllConnections(), LEAVE_MS);
    server.close(() => {
      clearTimeout(late);
      resolve();
    });
    stopping.abort(); // who waits is answered
    server.closeIdleConnections();
  });
}

type Answer = (
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
) => void | Promise<void>;

class Routes {
  readonly #handle: ReplicationHandle;
  readonly #recorder: Recorder;
  readonly #hosts: readonly string[];
  readonly #routes: Readonly<Record<string, readonly [method: "GET" | "POST", Answer]>>;

  constructor(
    handle: ReplicationHandle,
    recorder: Recorder,
    stopping: AbortSignal,
    hosts: readonly string[],
  ) {
    this.#handle = handle;
    this.#recorder = recorder;
    this.#hosts = hosts;
    const streams = new Streams(recorder, () => snapshotOf(handle, recorder), stopping);
    this.#routes = {
      "/events": ["GET", (request, response) => streams.answer(request, response)],
      "/durable": [
        "POST",
        (request, response, query) => answerDurable(handle, request, response, { query, stopping }),
      ],
      "/metrics": ["GET", (_, response) => this.#metrics(response)],
      "/healthz": ["GET", (_, response) => this.#health(response)],
      "/status.json": [
        "GET",
        (_, response) => sendJson(response, 200, snapshotOf(handle, recorder)),
      ],
    };
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const failed = (error: unknown): void => {
      refuse(response, 500, "This is a defect of Lockstep: report it");
      process.emitWarning(error as Error); // it must not end the application
    };
    try {
      Promise.resolve(this.#route(request, response)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #route(request: IncomingMessage, response: ServerResponse): unknown {
    const why = foreignness(request, this.#hosts);
    if (why) return refuse(response, 403, why);
    const url = URL.parse(request.url ?? "", "http://localhost");
    if (!url) return refuse(response, 400, "The path is not one");
    const { pathname } = url;
    const known = Object.hasOwn(this.#routes, pathname) ? this.#routes[pathname] : undefined;
    const [method, answer] = known ?? ["GET", this.#page(pathname)];
    if (request.method !== method && !(method === "GET" && request.method === "HEAD")) {
      const Allow = method === "GET" ? "GET, HEAD" : method;
      return refuse(response, 405, `${pathname} takes ${Allow} only`, { Allow });
    }
    return answer(request, response, url.searchParams);
  }

  #metrics(response: ServerResponse): void {
    const [handle, recorder] = [this.#handle, this.#recorder];
    const { metrics, status } = handle;
    const { rot, healed } = status;
    const reading = {
      snapshot: snapshotOf(handle, recorder),
      metrics,
      ...{ rot: rot.length, healed },
    };
    send(response, 200, PROMETHEUS_TYPE, prometheusText([reading]));
  }

  #health(response: ServerResponse): void {
    const { healthy, reasons, warnings } = snapshotOf(this.#handle, this.#recorder);
    sendJson(response, healthy ? 200 : 503, { healthy, reasons, warnings });
  }

  #page(path: string): Answer {
    return (_, response) => {
      const file = page(path);
      if (file) send(response, 200, file.type, file.body);
      else refuse(response, 404, `There is no ${path}`);
    };
  }
}
