/** Where a server may listen, and where not. */
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { codes } from "../../src/errors.ts";
import { formatAddress, parseAddress } from "../../src/serve/address.ts";

test("a path with a slash is a socket, HOST:PORT a port of this machine", () => {
  const port = (host: string, port: number) => ({ kind: "port", host, port });
  assert.deepEqual(parseAddress("/run/a.sock", false), { kind: "socket", path: "/run/a.sock" });
  assert.deepEqual(parseAddress("./a", false), { kind: "socket", path: resolve("a") });
  assert.deepEqual(parseAddress("127.0.0.1:9090", false), port("127.0.0.1", 9090));
  assert.deepEqual(parseAddress("127.1.2.3:0", false), port("127.1.2.3", 0));
  assert.deepEqual(parseAddress("localhost:65535", false), port("127.0.0.1", 65535));
  assert.deepEqual(parseAddress("[::1]:1", false), port("::1", 1));
  assert.deepEqual(parseAddress("0.0.0.0:80", true), port("0.0.0.0", 80));
  for (const text of ["/run/a.sock", "127.0.0.1:9090", "[::1]:1"]) {
    assert.equal(formatAddress(parseAddress(text, false)), text);
  }
});

test("what is neither, or reaches other machines unasked, is refused", () => {
  const refused = (listen: unknown, what: RegExp): void =>
    assert.throws(() => parseAddress(listen, false), { code: codes.BAD_OPTION, what });
  for (const listen of [
    undefined,
    null,
    9090,
    "",
    "a.sock",
    "9090",
    ":9090",
    "127.0.0.1",
    "/a\0b",
  ]) {
    refused(listen, /neither a path nor HOST:PORT/);
  }
  for (const listen of ["127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "::1:80"]) {
    refused(listen, /neither a path nor HOST:PORT/);
  }
  for (const listen of ["0.0.0.0:80", "192.168.1.2:80", "[::]:80", "[fe80::1]:80"]) {
    refused(listen, /allowRemote/);
  }
  refused("example.com:80", /IP address/);
  assert.throws(() => parseAddress("example.com:80", true), { code: codes.BAD_OPTION });
});
