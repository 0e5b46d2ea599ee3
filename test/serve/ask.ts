/** A replication that listens, and what a client of it is answered. */
import { once } from "node:events";
import http, { type IncomingHttpHeaders } from "node:http";
import net from "node:net";
import type { TestContext } from "node:test";
import type { ReplicationHandle } from "../../src/observe.ts";
import { Recorder } from "../../src/serve/recorder.ts";
import { type Served, type ServeOptions, serve } from "../../src/serve/server.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Question {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly signal?: AbortSignal;
}

/** Listens until the test ends; on a port that is free, if nothing else is said. */
export async function served(
  t: TestContext,
  handle: ReplicationHandle,
  options: Partial<ServeOptions> = {},
): Promise<Served & { readonly recorder: Recorder }> {
  const recorder = new Recorder(handle);
  const server = await serve(handle, { listen: "127.0.0.1:0", ...options }, recorder);
  t.after(async () => {
    recorder.close();
    await server.close();
  });
  return { ...server, recorder };
}

/** Asks whoever listens at an address: a socket's path, or HOST:PORT. */
export async function ask(address: string, path: string, question: Question = {}): Promise<Answer> {
  const { method = "GET", headers = {}, body, signal } = question;
  const at = address.includes("/")
    ? { socketPath: address }
    : { host: address.replace(/:\d+$/, ""), port: Number(/\d+$/.exec(address)?.[0]) };
  const request = http.request({
    ...at,
    path,
    method,
    headers: { Connection: "close", ...headers },
    ...(signal ? { signal } : {}),
  });
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

/** Sends bytes as they are; what comes back until the connection is closed. */
export async function say(address: string, bytes: string): Promise<string> {
  const port = Number(/\d+$/.exec(address)?.[0]);
  const socket = net.connect(port, "127.0.0.1").setEncoding("utf8");
  socket.write(bytes);
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text;
}
