/**
 * Bytes of a commit: in the primary's log, in the message, on the wire to the servers and between them, and what each of
 * three servers writes to its disk and keeps there. Small transactions one by one; the same from 256
 * callers, who share messages; transactions of 100 rows of text, and of 100 rows of random bytes.
 *
 * The wire is counted by the servers: what came in on the primary's connection, what went out on the routes. The
 * disk is what the kernel counts for each server's process (`write_bytes`), and the size of the files of its
 * store at the end. What happens between is divided by the number of commits.
 */
import { type Opened, open, SCHEMA, warmUp } from "../ledger.ts";
import { payloadsOf, Servers, threePages } from "../streams.ts";
import { throughput } from "../throughput.ts";
import type { Scale, Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Bytes of a commit, three NATS servers",
  ways: {
    small: "three pages, one by one",
    callers: "three pages, 256 callers",
    text: "100 rows of text",
    random: "100 rows of random bytes",
  },
  figures: {
    log: "KB",
    message: "KB",
    "to the servers": "KB",
    "between servers": "KB",
    "written by each": "KB",
    "kept by each": "KB",
  },
  charts: [{ name: "wire", title: "Bytes of a commit on the wire", figures: ["to the servers"] }],
  rounds: () => 1,
  async trial({ way, directory, scale }) {
    const servers = await Servers.start(directory);
    const url = await servers.make("bench");
    const opened = open(way === "callers" ? "barrier" : "lockstep", directory, {
      addresses: [url],
    });
    const commit = way === "text" || way === "random" ? rows(opened, way) : threePages(opened);
    const first = warmUp(opened, commit);
    await opened.durable();
    const payloads = await payloadsOf(url);
    const before = await countersOf(servers);
    const commits = await work(way, opened, (i) => commit(first + i), scale);
    await opened.durable();
    const after = await countersOf(servers);
    opened.close();
    const { plain, sent } = await payloadsOf(url);
    await servers.stop();
    const each = (bytes: number) => bytes / commits / 1000;
    return {
      log: each(plain - payloads.plain),
      message: each(sent - payloads.sent),
      "to the servers": each(after.client - before.client),
      "between servers": each(after.routes - before.routes),
      "written by each": each(after.written - before.written),
      "kept by each": each(after.kept - before.kept),
    };
  },
};

/** @returns how many commits there were */
async function work(
  way: string,
  opened: Opened,
  commit: (i: number) => void,
  scale: Scale,
): Promise<number> {
  let i = 0;
  if (way === "callers") {
    await throughput({ x: 256, scale }, () => {
      commit(i++);
      return opened.durable();
    });
  } else {
    const end = performance.now() + (scale.quick ? 1000 : 10_000);
    while (performance.now() < end) commit(i++);
  }
  return i;
}

const WORDS = "the quick brown fox jumps over a lazy dog and then runs home to sleep".split(" ");

/** 100 rows of some 300 bytes. */
function rows(opened: Opened, way: "text" | "random"): (i: number) => void {
  const [db] = opened.databases;
  db!.exec(`${SCHEMA}; CREATE TABLE page (id INTEGER PRIMARY KEY, body)`);
  const sql = way === "text" ? "?" : "randomblob(300 + 0 * length(?))";
  const insert = db!.prepare(`INSERT INTO page (body) VALUES (${sql})`);
  let state = 1;
  const word = () => {
    state = (state * 48271) % 0x7fffffff;
    return WORDS[state % WORDS.length]!;
  };
  return db!.transaction((i: number) => {
    for (let row = 0; row < 100; row++) {
      insert.run(`${i} ${Array.from({ length: 60 }, word).join(" ")}`);
    }
  });
}

async function countersOf(servers: Servers) {
  let [client, routes] = [0, 0];
  for (const server of servers.cluster.servers) {
    const { connections } = await server.ask("connz");
    for (const { name, in_bytes } of connections) if (name === "lockstep") client += in_bytes;
    const { routes: all } = await server.ask("routez");
    for (const { out_bytes } of all) routes += out_bytes ?? 0;
  }
  return { client, routes, written: servers.written, kept: servers.kept };
}
