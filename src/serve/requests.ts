/**
 * Who may ask: programs of this machine, and the page that this server itself has sent. A page of another
 * site, opened in a browser here, could send requests to this port, too. Three things tell it apart:
 *
 *   Host             names what the browser believes to ask: a name of the other site, if that had it
 *                    resolved to this machine
 *   Origin           names the page that asks, whenever it does more than load something
 *   Sec-Fetch-Site   says of everything that it loads that it comes from elsewhere
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import net from "node:net";

/** What every answer has. Nothing is kept, framed, or loaded from elsewhere. */
const HEADERS = {
  "Cache-Control": "no-store",
  "Content-Security-Policy":
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

/** @returns null, or why the request is refused */
export function foreignness(request: IncomingMessage, hosts: readonly string[]): string | null {
  const { host, origin } = request.headers;
  if (host === undefined || !isOurs(host, hosts)) {
    return `The header Host must name an IP address or localhost, not ${host ?? "nothing"}`;
  }
  if (origin !== undefined && origin !== `http://${host}`) {
    return `A page of ${origin} may not ask this`;
  }
  const site = request.headers["sec-fetch-site"];
  const isElsewhere = site === "cross-site" || site === "same-site";
  const isLink = request.method === "GET" && request.headers["sec-fetch-mode"] === "navigate";
  if (isElsewhere && !isLink) return "A page of another site may not ask this";
  return null;
}

/** @param hosts names that are served besides */
function isOurs(host: string, hosts: readonly string[]): boolean {
  const name = host
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase();
  return name === "localhost" || net.isIP(name) !== 0 || hosts.includes(name);
}

export function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent || response.destroyed) return;
  const length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  response.writeHead(status, {
    ...HEADERS,
    "Content-Type": type,
    "Content-Length": length,
    ...headers,
  });
  response.end(response.req.method === "HEAD" ? undefined : body);
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers?: Readonly<Record<string, string>>,
): void {
  send(response, status, "application/json; charset=utf-8", `${JSON.stringify(body)}\n`, headers);
}

/** The request is at fault. */
export function refuse(
  response: ServerResponse,
  status: number,
  what: string,
  headers?: Readonly<Record<string, string>>,
): void {
  sendJson(response, status, { what }, headers);
}

/** Begins an answer that goes on. */
export function begin(response: ServerResponse, type: string): void {
  response.writeHead(200, { ...HEADERS, "Content-Type": type });
  response.flushHeaders();
}
