/**
 * A network namespace for each server, on Linux as root: two links lead out of it, one to where this process is and one to the
 * other servers, and each can be cut by itself. What is sent is lost then, and nobody is told.
 *
 *     this process ── bridge ──┬── n1 ──┬── bridge
 *      198.18.x.254            ├── n2 ──┤
 *          198.18.x.1, .2, .3  └── n3 ──┘  198.19.x.1, .2, .3
 *
 * All of it goes with `remove`; what a process that was killed left behind goes when the next one begins.
 */
import { spawnSync } from "node:child_process";
import type { Host } from "./nats.ts";

/** To this process, or to the other servers. */
export type Way = "client" | "cluster";

/** For `skip` of a test: why there can be none, or false. */
export function withoutNamespaces(): string | false {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces take root";
  try {
    Networks.make(1).remove();
    return false;
  } catch (error) {
    return `no network namespaces here: ${(error as Error).message}`;
  }
}

export class Networks {
  readonly #count: number;
  /** The third number of all addresses. */
  readonly #net: number;

  private constructor(count: number, net: number) {
    this.#count = count;
    this.#net = net;
  }

  static make(count: number): Networks {
    removeLeft();
    const taken = ip("-4", "-o", "address");
    const free = Array.from({ length: 256 }, (_, i) => i).filter(
      (i) => !taken.includes(` 198.18.${i}.`),
    );
    const networks = new Networks(count, free[process.pid % free.length] as number);
    try {
      networks.#make();
    } catch (error) {
      networks.remove();
      throw error;
    }
    return networks;
  }

  /** For `startNats`. */
  get hosts(): Host[] {
    return this.#servers.map((i) => ({
      address: this.#address("client", i + 1),
      route: this.#address("cluster", i + 1),
      within: ["ip", "netns", "exec", spaceOf(process.pid, i)],
    }));
  }

  /** @param server its place among `hosts` */
  cut(server: number, way: Way): void {
    ip("link", "set", linkOf(process.pid, way, server), "nomaster");
  }

  heal(): void {
    for (const way of WAYS) for (const i of this.#servers) this.#connect(way, i);
  }

  /** Makes every link slow, both ways, until `fast`. @returns how; null if this system has nothing for it */
  slow(): string | null {
    for (const how of SLOW) {
      try {
        this.#queue("add", ...how);
        return how.join(" ");
      } catch {
        this.fast(); // it has no such thing; perhaps another
      }
    }
    return null;
  }

  fast(): void {
    try {
      this.#queue("del");
    } catch {
      // some were not slow
    }
  }

  remove(): void {
    remove(process.pid);
  }

  get #servers(): number[] {
    return Array.from({ length: this.#count }, (_, i) => i);
  }

  #address(way: Way, last: number): string {
    return `198.${way === "client" ? 18 : 19}.${this.#net}.${last}`;
  }

  #make(): void {
    const { pid } = process;
    for (const way of WAYS) {
      ip("link", "add", bridgeOf(pid, way), "type", "bridge");
      ip("link", "set", bridgeOf(pid, way), "up");
    }
    ip("address", "add", `${this.#address("client", 254)}/24`, "dev", bridgeOf(pid, "client"));
    for (const i of this.#servers) {
      const space = spaceOf(pid, i);
      ip("netns", "add", space);
      ip("-n", space, "link", "set", "lo", "up");
      for (const way of WAYS) {
        const link = linkOf(pid, way, i);
        ip("link", "add", link, "type", "veth", "peer", "name", way, "netns", space);
        ip("-n", space, "address", "add", `${this.#address(way, i + 1)}/24`, "dev", way);
        ip("-n", space, "link", "set", way, "up");
        ip("link", "set", link, "up");
        this.#connect(way, i);
      }
    }
  }

  #connect(way: Way, server: number): void {
    ip("link", "set", linkOf(process.pid, way, server), "master", bridgeOf(process.pid, way));
  }

  #queue(what: "add" | "del", ...how: readonly string[]): void {
    for (const i of this.#servers) {
      for (const way of WAYS) {
        run("tc", "qdisc", what, "dev", linkOf(process.pid, way, i), "root", ...how);
        run("tc", "-n", spaceOf(process.pid, i), "qdisc", what, "dev", way, "root", ...how);
      }
    }
  }
}

// --- internal ---

const WAYS = ["client", "cluster"] as const;

/** As `tc` has them: a delay, or else a rate. */
const SLOW = [
  ["netem", "delay", "60ms", "20ms"],
  ["tbf", "rate", "400kbit", "burst", "4kb", "latency", "2s"],
] as const;

/** Names of interfaces have 15 characters at most. */
const prefixOf = (pid: number): string => `ls${pid.toString(36)}`;
const bridgeOf = (pid: number, way: Way): string => `${prefixOf(pid)}-${way}`;
const linkOf = (pid: number, way: Way, server: number): string =>
  `${prefixOf(pid)}-${way.at(-1)}${server}`;
const spaceOf = (pid: number, server: number): string => `lockstep-${pid}-${server}`;

/** Of processes that are no more. */
function removeLeft(): void {
  const spaces = ip("netns", "list").matchAll(/^lockstep-(\d+)-\d+/gm);
  const links = ip("-o", "link").matchAll(/ ls([\da-z]+)-\w+[:@]/g);
  const pids = [
    ...[...spaces].map(([, pid]) => Number(pid)),
    ...[...links].map(([, pid]) => Number.parseInt(pid as string, 36)),
  ];
  for (const pid of new Set(pids)) if (!isAlive(pid)) remove(pid);
}

/** A link goes at both its ends. A namespace would keep them as long as a socket in it waits for an answer. */
function remove(pid: number): void {
  const links = ip("-o", "link").matchAll(new RegExp(` (${prefixOf(pid)}-\\w+)[@:]`, "g"));
  for (const [, link] of links) ip("link", "del", link as string);
  for (const [space] of ip("netns", "list").matchAll(/^lockstep-\d+-\d+/gm)) {
    if (space.startsWith(`lockstep-${pid}-`)) ip("netns", "del", space);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function ip(...args: readonly string[]): string {
  return run("ip", ...args);
}

function run(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr.trim()}`);
  return stdout;
}
