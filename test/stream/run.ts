/**
 * `npm run test:stream -- --minutes 30 --seed S`: a primary commits into a stream on three servers, and a standby
 * follows, while every few seconds one of the servers is killed, paused or cut short, whoever leads included, and comes
 * back; now and then the primary or the standby is killed as well.
 *
 * At the end the primary holds each row that was acknowledged, once, and the stream and the standby lead to the same pages.
 * The seed repeats what is done to whom, not how the processes interleave.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { create } from "../../src/stream/nats-admin.ts";
import { Random } from "../crash/random.ts";
import { readAtRest } from "../support/files.ts";
import { type NatsCluster, type NatsServer, startNats, withoutNats } from "../support/nats.ts";
import { soon } from "./messages.ts";
import { materialize } from "./streamed.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
const HERE = path.dirname(fileURLToPath(import.meta.url));
const LOCKSTEP = path.join(HERE, "../../src/cli/main.ts");
/** How long a primary or a standby may take to be back after it was killed, in milliseconds. */
const BACK_MS = 240_000;

/** The process that commits, begun again whenever it ends. */
class Primary {
  readonly file: string;
  acknowledged = 0;
  kills = 0;
  /** The longest time between two acknowledgements of one process, in milliseconds. */
  longestMs = 0;
  /** What it said besides. */
  readonly errors: string[] = [];
  readonly #address: string;
  #child: ChildProcess | null = null;
  #isOver = false;

  constructor(file: string, address: string) {
    this.file = file;
    this.#address = address;
  }

  /** Commits until `stop`, in as many processes as it takes. */
  async run(): Promise<void> {
    while (!this.#isOver) {
      const from = String(this.#lastRow() + 1);
      const args = [path.join(HERE, "writer.ts"), this.file, from, this.#address];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
      this.#child = child;
      child.stderr.on("data", (text) => this.errors.push(String(text)));
      let last = 0;
      for await (const line of createInterface({ input: child.stdout })) {
        const now = performance.now();
        if (last > 0) this.longestMs = Math.max(this.longestMs, now - last);
        last = now;
        this.acknowledged = Number(line);
      }
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
  }

  kill(): void {
    if (this.#child?.kill("SIGKILL")) this.kills++;
  }

  stop(): void {
    this.#isOver = true;
    this.#child?.kill("SIGKILL");
  }

  /** Nobody has it open: the last row that is in it, acknowledged or not. */
  #lastRow(): number {
    if (!fs.existsSync(this.file)) return 0;
    return Math.max(this.acknowledged, lastRowOf(this.file));
  }
}

/** As any program would read it, its log included. */
function lastRowOf(file: string): number {
  const { status, stdout } = spawnReader(file);
  return status === 0 ? Number(stdout) : 0;
}

function spawnReader(file: string): { status: number | null; stdout: string } {
  const script = `import { DatabaseSync } from "node:sqlite";
    const db = new DatabaseSync(process.argv[1], { readOnly: true });
    const [row] = db.prepare("SELECT max(n) AS n FROM t").all();
    console.log(Number(row.n ?? 0));`;
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const args = ["--input-type=module", "--no-warnings", "-e", script, file];
  return spawnSync(process.execPath, args, { encoding: "utf8" });
}

/** `lockstep follow`, begun again whenever it ends. */
class Standby {
  readonly file: string;
  kills = 0;
  readonly #address: string;
  #child: ChildProcess | null = null;
  #isOver = false;

  constructor(file: string, address: string) {
    this.file = file;
    this.#address = address;
  }

  async run(): Promise<void> {
    while (!this.#isOver) {
      const child = spawn(process.execPath, [LOCKSTEP, "follow", this.#address, this.file], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      this.#child = child;
      await once(child, "exit");
      if (!this.#isOver) await delay(200); // the servers may be away
    }
  }

  kill(): void {
    if (this.#child?.kill("SIGKILL")) this.kills++;
  }

  stop(): void {
    this.#isOver = true;
    this.#child?.kill("SIGTERM");
  }
}

/** One server at a time is away: a majority is always there. */
async function harm(
  cluster: NatsCluster,
  random: Random,
  did: Record<string, number>,
): Promise<void> {
  const isLeader = random.oneIn(2);
  const server = isLeader
    ? await cluster.leaderOf("LOCKSTEP_soak")
    : (random.pick(cluster.servers) as NatsServer);
  const isPause = random.oneIn(4);
  const what = `${isPause ? "paused" : "killed"}${isLeader ? ", leading" : ""}`;
  did[what] = (did[what] ?? 0) + 1;
  if (isPause) server.pause();
  else await server.kill();
  await delay(random.between(500, 6000));
  if (isPause) server.resume();
  else await server.start();
  await cluster.ready(BACK_MS);
}

const reason = withoutNats();
if (reason) throw new Error(reason);
const ends: (() => unknown)[] = [];
const root = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-soak-"));
try {
  console.log(`${minutes} minutes, from seed ${seed}`);
  const random = new Random(seed);
  const cluster = await startNats({ after: (end) => void ends.push(end as () => unknown) });
  const settings = { monitor: cluster.monitor, imageBytes: "20000000", keep: "1m" };
  const address = cluster.url("soak", settings);
  await create(address, {}, soon());
  fs.mkdirSync(path.join(root, "main"));
  const primary = new Primary(path.join(root, "main", "app.db"), address);
  const standby = new Standby(path.join(root, "standby.db"), address);
  const running = [primary.run(), standby.run()];
  const did: Record<string, number> = {};
  const end = Date.now() + minutes * 60_000;
  for (let round = 1; Date.now() < end; round++) {
    const before = primary.acknowledged;
    await harm(cluster, random, did);
    if (random.oneIn(8)) primary.kill();
    if (random.oneIn(8)) standby.kill();
    const deadline = Date.now() + BACK_MS;
    while (primary.acknowledged === before) {
      assert.ok(Date.now() < deadline, `no commit for too long:\n${primary.errors.join("")}`);
      await delay(50);
    }
    if (round % 20 === 0) console.log(`${primary.acknowledged} acknowledged`, did);
    await delay(random.between(500, 4000));
  }
  primary.stop();
  standby.stop();
  await Promise.all(running);

  await cluster.ready();
  await run("bring the primary to rest", path.join(HERE, "rest.ts"), primary.file, address);
  await run("follow to the end", LOCKSTEP, "follow", "--once", address, standby.file);
  await run("compare the standby", LOCKSTEP, "verify", "--quiet", primary.file, standby.file);
  const made = path.join(root, "made.db");
  await materialize(address, made);
  assert.ok(fs.readFileSync(made).equals(fs.readFileSync(primary.file)), "the stream leads there");
  const rows = readAtRest(primary.file, (db) => db.prepare("SELECT n FROM t ORDER BY n").all());
  assert.ok(rows.length >= primary.acknowledged, `${rows.length} of ${primary.acknowledged}`);
  for (const [i, { n }] of rows.entries()) assert.equal(Number(n), i + 1, "each row once");
  const { acknowledged, kills, longestMs } = primary;
  const longestPauseMs = Math.round(longestMs);
  console.log({ acknowledged, found: rows.length, lost: 0, longestPauseMs });
  console.log({ ...did, primaryKilled: kills, standbyKilled: standby.kills });
  const errors = primary.errors.join("").match(/LockstepError: .*(\n {4}at .*){0,9}/g) ?? [];
  if (errors.length > 0) console.log("the primary ended by itself, and was begun again:", errors);
  console.log("nothing was lost, nothing is there twice; standby and stream are the primary");
} finally {
  for (const each of ends) await each();
  fs.rmSync(root, { recursive: true, force: true });
}

async function run(what: string, script: string, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = await once(child, "exit");
  assert.equal(code, 0, what);
}
