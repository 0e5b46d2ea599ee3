/**
 * Real NATS servers for tests, on loopback if nothing else is said: one or three, each in a directory of its own, which sync
 * before they acknowledge. They end with the test, and with the process if that dies: each is held by
 * a shell that kills it when the pipe from us closes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Ending } from "../scratch.ts";
import { natsServer, withoutNats } from "./nats-binary.ts";

export { withoutNats };

export const USER = "app";
/** With characters that a URL must escape. */
export const PASSWORD = "s3cret/:@?%";

export interface NatsOptions {
  /** Default 3. */
  readonly servers?: number;
  /** Default "always". */
  readonly syncInterval?: string;
  /** More users of the account, as the configuration writes them. */
  readonly users?: string;
  /** In place of accounts with passwords: who they are, as the configuration says it. */
  readonly accounts?: string;
  /** More of the configuration, at its top level. */
  readonly config?: string;
  /** Where they keep what they have. Default: the system's directory for temporary files. */
  readonly directory?: string;
  /** Where each of them runs. Default: all on loopback. */
  readonly hosts?: readonly Host[];
}

export interface Host {
  /** Its address for clients. */
  readonly address: string;
  /** Its address for the other servers. */
  readonly route: string;
  /** What its command is put behind: `ip netns exec …`. */
  readonly within: readonly string[];
}

/** For all tests of a file. @returns what gives the servers, once the tests run */
export function natsForFile(options: NatsOptions = {}): () => NatsCluster {
  const ends: (() => unknown)[] = [];
  let cluster: NatsCluster | undefined;
  if (withoutNats() === false) {
    before(async () => {
      cluster = await startNats({ after: (end) => void ends.push(end as () => unknown) }, options);
    });
    after(async () => {
      for (const end of ends) await end();
    });
  }
  return () => cluster as NatsCluster;
}

/** @returns servers that are ready; they end with the test */
export async function startNats(t: Ending, options: NatsOptions = {}): Promise<NatsCluster> {
  const { directory: parent = os.tmpdir() } = options;
  const directory = fs.mkdtempSync(path.join(parent, "lockstep-nats-"));
  const cleanUp = (): void => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  for (let attempt = 1; ; attempt++) {
    const cluster = await NatsCluster.plan(path.join(directory, `${attempt}`), options);
    try {
      await cluster.start();
      t.after(async () => {
        await cluster.stop();
        cleanUp();
      });
      return cluster;
    } catch (error) {
      await cluster.stop();
      if (attempt < 3) continue; // a port that was free may not be any more
      cleanUp();
      throw error;
    }
  }
}

export class NatsCluster {
  readonly servers: readonly NatsServer[];

  constructor(servers: readonly NatsServer[]) {
    this.servers = servers;
  }

  static async plan(directory: string, options: NatsOptions): Promise<NatsCluster> {
    const count = options.servers ?? 3;
    const ports = await freePorts(3 * count);
    const hosts = Array.from({ length: count }, (_, i) => options.hosts?.[i] ?? LOOPBACK);
    const routes = hosts.map((host, i) => `${host.route}:${ports[2 * count + i]}`);
    const servers = hosts.map((host, i) => {
      const where = path.join(directory, `n${i + 1}`);
      fs.mkdirSync(where, { recursive: true });
      const [port, monitor] = [ports[i] as number, ports[count + i] as number];
      const [client, http] = [`${host.address}:${port}`, `${host.address}:${monitor}`];
      const listen = { client, http, route: routes[i] as string, routes };
      const config = configOf(`n${i + 1}`, where, listen, options);
      fs.writeFileSync(path.join(where, "server.conf"), config);
      return new NatsServer(`n${i + 1}`, where, host, { port, monitor });
    });
    return new NatsCluster(servers);
  }

  async start(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.start()));
    try {
      await this.ready(30_000);
    } catch (error) {
      const logs = this.servers.map((server) => server.log).join("\n");
      throw new Error(`${(error as Error).message}\n${logs}`);
    }
  }

  /** Resolves when every server says that it is healthy, and they agree on who leads. */
  async ready(within = 60_000): Promise<void> {
    await until(within, "the servers to be ready", async () => {
      const all = await Promise.all(this.servers.map((server) => server.isHealthy()));
      if (!all.every(Boolean)) return false;
      if (this.servers.length === 1) return true;
      const leader = (await this.servers[0]?.ask("jsz"))?.["meta_cluster"]?.leader;
      return typeof leader === "string" && leader !== "";
    }).catch(async (error: Error) => {
      const said = await Promise.all(this.servers.map((server) => server.health()));
      throw new Error(`${error.message}\n${said.join("\n")}`);
    });
  }

  /** What leads to this stream: all servers, as the URL of a replica has them. */
  url(
    name: string,
    options: Record<string, string> = {},
    user = USER,
    password = PASSWORD,
  ): string {
    const hosts = this.servers.map(({ address, port }) => `${address}:${port}`).join(",");
    const query = new URLSearchParams(options).toString();
    const who = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
    return `nats://${who}@${hosts}/${name}${query === "" ? "" : `?${query}`}`;
  }

  /** The same without a user and a password: the options say who we are. */
  urlOf(name: string, options: Record<string, string>): string {
    return this.url(name, options).replace(/\/\/[^@]*@/, "//");
  }

  /** Where each says how it is, as the option `monitor` has them. */
  get monitor(): string {
    return this.servers.map((server) => server.monitor).join(",");
  }

  /** The server that leads a stream. */
  async leaderOf(stream: string): Promise<NatsServer> {
    let leader: NatsServer | undefined;
    await until(30_000, `${stream} to have a leader`, async () => {
      for (const server of this.servers.filter((each) => each.isRunning)) {
        const all = await server.ask("jsz?accounts=1&streams=1").catch(() => null);
        for (const account of all?.["account_details"] ?? []) {
          for (const each of account.stream_detail ?? []) {
            if (each.name !== stream) continue;
            const name = each.cluster?.leader ?? server.name;
            leader = this.servers.find((one) => one.name === name && one.isRunning);
            if (leader) return true;
          }
        }
      }
      return false;
    });
    return leader as NatsServer;
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
  }
}

export class NatsServer {
  readonly name: string;
  /** For clients. */
  readonly address: string;
  readonly port: number;
  readonly directory: string;
  readonly #within: readonly string[];
  readonly #monitor: number;
  #holder: ChildProcess | null = null;
  #pid = 0;

  constructor(
    name: string,
    directory: string,
    { address, within }: Host,
    { port, monitor }: { readonly port: number; readonly monitor: number },
  ) {
    this.name = name;
    this.directory = directory;
    this.address = address;
    this.port = port;
    this.#within = within;
    this.#monitor = monitor;
  }

  get monitor(): string {
    return `http://${this.address}:${this.#monitor}`;
  }

  /** Of its process. */
  get pid(): number {
    return this.#pid;
  }

  get isRunning(): boolean {
    return this.#holder !== null;
  }

  /** Starts it; it is not ready then. */
  async start(): Promise<void> {
    const server = natsServer();
    if (server.path === null) throw new Error(server.why);
    const log = fs.openSync(path.join(this.directory, "log"), "a");
    // The shell lives as long as our end of its pipe; what it holds dies with it.
    const script = `"$@" </dev/null >&3 2>&3 & echo $!; read _; kill -9 $!; wait`;
    const command = [...this.#within, server.path, "-c", path.join(this.directory, "server.conf")];
    const holder = spawn("/bin/sh", ["-c", script, "sh", ...command], {
      detached: true,
      stdio: ["pipe", "pipe", "ignore", log],
    });
    fs.closeSync(log);
    this.#holder = holder;
    const [line] = await once(holder.stdout as NodeJS.ReadableStream, "data");
    this.#pid = Number(String(line).trim());
  }

  /** kill -9. Resolves when it is gone; it may not run. */
  async kill(): Promise<void> {
    const holder = this.#holder;
    if (!holder) return;
    this.#holder = null;
    const gone = once(holder, "exit");
    holder.stdin?.end();
    await gone;
  }

  pause(): void {
    process.kill(this.#pid, "SIGSTOP");
  }

  resume(): void {
    process.kill(this.#pid, "SIGCONT");
  }

  /** What it says of its health, for a test that failed. */
  async health(): Promise<string> {
    const answer = await this.ask("healthz").catch((error: Error) => error.message);
    return `${this.name}: ${JSON.stringify(answer)}\n${this.log}`;
  }

  /** It reads its configuration again, in which this was replaced. */
  reload(from: string, to: string): void {
    const file = path.join(this.directory, "server.conf");
    const config = fs.readFileSync(file, "utf8");
    if (!config.includes(from)) throw new Error(`no such text in ${file}`);
    fs.writeFileSync(file, config.replace(from, to));
    process.kill(this.#pid, "SIGHUP");
  }

  async isHealthy(): Promise<boolean> {
    if (!this.#holder) return false;
    try {
      const { status } = await fetch(`${this.monitor}/healthz`, {
        signal: AbortSignal.timeout(1000),
      });
      return status === 200;
    } catch {
      return false;
    }
  }

  /** What its monitor says. */
  async ask(what: string): Promise<Json> {
    const answer = await fetch(`${this.monitor}/${what}`, { signal: AbortSignal.timeout(2000) });
    return (await answer.json()) as Json;
  }

  /** The end of its log, for a test that failed. */
  get log(): string {
    return fs.readFileSync(path.join(this.directory, "log"), "utf8").slice(-4000);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: what a server says about itself
export type Json = any;

/** Asks again and again until it is so. */
export async function until(
  within: number,
  what: string,
  holds: () => Promise<boolean> | boolean,
): Promise<void> {
  const end = performance.now() + within;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${within} ms for ${what}`);
    await delay(50);
  }
}

// --- internal ---

const LOOPBACK: Host = { address: "127.0.0.1", route: "127.0.0.1", within: [] };

/** Addresses with ports. */
interface Listen {
  readonly client: string;
  readonly http: string;
  readonly route: string;
  /** Of all servers. */
  readonly routes: readonly string[];
}

function configOf(name: string, directory: string, listen: Listen, options: NatsOptions): string {
  const { client, http, route, routes } = listen;
  const others = routes.map((each) => `nats://route:routes@${each}`);
  const cluster = `cluster {
  name: test
  listen: ${route}
  routes: [${others.join(", ")}]
  authorization { user: route, password: routes }
}`;
  return `server_name: ${name}
listen: ${client}
http: ${http}
jetstream {
  store_dir: ${JSON.stringify(path.join(directory, "store"))}
  max_memory_store: 64MB
  max_file_store: 2GB
  sync_interval: ${options.syncInterval ?? "always"}
}
${routes.length > 1 ? cluster : ""}
${options.accounts ?? withPasswords(options.users)}
${options.config ?? ""}
`;
}

function withPasswords(users = ""): string {
  return `system_account: SYS
accounts {
  SYS { users: [{ user: sys, password: system }] }
  APP {
    jetstream: enabled
    users: [
      { user: ${USER}, password: ${JSON.stringify(PASSWORD)} }
      ${users}
    ]
  }
}`;
}

/** Ports that are free at this moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = net.createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}
