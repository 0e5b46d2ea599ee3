/** Where a server may listen: a unix socket's path, or a port of this machine. */
import net from "node:net";
import path from "node:path";
import { codes, LockstepError } from "../errors.ts";

export type Address =
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "port"; readonly host: string; readonly port: number };

/**
 * @param listen a path with a slash in it, or `HOST:PORT`; port 0: any that is free
 * @param allowRemote may it be an address that other machines reach? There is no encryption and no password
 * @throws LockstepError BAD_OPTION
 */
export function parseAddress(listen: unknown, allowRemote: boolean): Address {
  if (typeof listen !== "string" || listen === "" || listen.includes("\0")) {
    throw wrong(listen, "is neither a path nor HOST:PORT");
  }
  if (listen.includes("/")) return { kind: "socket", path: path.resolve(listen) };
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(listen) ?? [];
  const named = bracketed ?? plain;
  if (!named || Number(digits) > 65535) throw wrong(listen, "is neither a path nor HOST:PORT");
  const host = named === "localhost" ? "127.0.0.1" : named;
  if (net.isIP(host) === 0) throw wrong(listen, "names a host: give its IP address");
  if (!isLoopback(host) && !allowRemote) {
    throw wrong(
      listen,
      "is an address that other machines reach; the option `allowRemote` permits it",
    );
  }
  return { kind: "port", host, port: Number(digits) };
}

/** As `listen` would name it. */
export function formatAddress(address: Address): string {
  if (address.kind === "socket") return address.path;
  const { host, port } = address;
  return net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

function isLoopback(host: string): boolean {
  return host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function wrong(listen: unknown, why: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `Option \`listen\`: ${JSON.stringify(listen)} ${why}`,
    state: "Nothing listens; replication is not affected",
    next: "Give a socket's path, as /run/app/lockstep.sock, or 127.0.0.1:9090",
  });
}
