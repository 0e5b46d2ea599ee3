/**
 * `npm run test:failover -- --runs 200 --seed S`: the primary's machine is gone, at random instants.
 * Goal: what was acknowledged is in the standby that is promoted, that goes on as the primary, and the old one, when it
 * comes back, is refused.
 * Method: three real servers for all runs, a database for each. A process commits, `lockstep follow` follows. At a random
 * instant the process is killed and its directory is gone; the follower ends, in an orderly way or not, and its copy is promoted
 * (where there is none yet, what is restored from the stream). It commits. Then the old directory comes back: as it was when the
 * process was killed, or as it was at an earlier instant. At the end another copy out of the stream is compared with the new primary.
 *
 *   node test/standby/failover-run.ts [--runs 200] [--from 0] [--seed N] [--jobs 3]
 *
 * Each run has its own numbers from the seed: `--from K --runs 1` repeats one. They repeat what is done, not how the processes
 * interleave.
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
import { DatabaseSync } from "../../src/index.ts";
import { follow } from "../../src/standby/follow.ts";
import { promote } from "../../src/standby/promote.ts";
import { restoreStream } from "../../src/standby/restore.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { create } from "../../src/stream/nats-admin.ts";
import { bucketStream, streamName } from "../../src/stream/nats-layout.ts";
import { main } from "../cli/lockstep.ts";
import { Random } from "../crash/random.ts";
import { soon } from "../stream/messages.ts";
import { copyDirectory } from "../support/files.ts";
import { type NatsCluster, startNats, until, withoutNats } from "../support/nats.ts";
import { equal } from "./failovers.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "200" },
    from: { type: "string", default: "0" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    jobs: { type: "string", default: "3" },
  },
});
const [runs, from, seed] = [Number(values.runs), Number(values.from), Number(values.seed)];
const WRITER = fileURLToPath(new URL("../stream/writer.ts", import.meta.url));

/** What a run did, and how it went. */
interface Did {
  readonly acknowledged: number;
  /** Committed, and killed before it could say so. */
  readonly besides: number;
  readonly standby: "followed" | "restored";
  readonly old: "as it was when killed" | "of an earlier instant";
  /** From the kill to the new primary's first commit, in milliseconds. */
  readonly awayMs: number;
}

/** The process that commits. What it says goes into a file: it waits for nobody who reads it. */
class Primary {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #said: string;

  constructor(file: string, address: string, said: string) {
    const fd = fs.openSync(said, "a");
    const args = [WRITER, file, "1", address];
    this.#said = said;
    this.#child = spawn(process.execPath, args, { stdio: ["ignore", fd, fd] });
    this.#ended = once(this.#child, "exit");
    fs.closeSync(fd);
  }

  /** The last row that it has said is there. */
  get acknowledged(): number {
    const lines = fs.readFileSync(this.#said, "utf8").split("\n");
    return Number(lines.at(-2) ?? 0);
  }

  /** Resolves when it has acknowledged something. */
  async hasBegun(): Promise<void> {
    await until(60_000, "the first commit", () => {
      this.#assertRuns();
      return this.acknowledged > 0;
    });
  }

  /** Its directory as it is at one instant. */
  copy(to: string, directory: string): void {
    this.#child.kill("SIGSTOP");
    copyDirectory(`${directory}/.`, to);
    this.#child.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    this.#assertRuns();
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  #assertRuns(): void {
    if (this.#child.exitCode === null) return;
    assert.fail(`the primary ended by itself: ${fs.readFileSync(this.#said, "utf8").slice(-4000)}`);
  }
}

/** `lockstep follow`; one that finds no snapshot yet ends, and there is no standby. */
function follower(address: string, dest: string): { child: ChildProcess; inStep: Promise<void> } {
  const inStep = Promise.withResolvers<void>();
  const child = spawn(process.execPath, [main, "follow", "--json", address, dest], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (JSON.parse(line).event === "in-step") inStep.resolve();
  });
  child.on("exit", () => inStep.resolve());
  return { child, inStep: inStep.promise };
}

async function run(cluster: NatsCluster, index: number, root: string): Promise<Did> {
  const random = new Random(seed, index);
  const name = `failover${index}`;
  const images = random.oneIn(2) ? { imageBytes: "200000", keep: "1m" } : {};
  const address = cluster.url(name, { monitor: cluster.monitor, ...images });
  await create(address, {}, soon());
  const [machine, kept] = [path.join(root, "main"), path.join(root, "kept")];
  const [file, standby] = [path.join(machine, "app.db"), path.join(root, "standby.db")];
  for (const each of [machine, kept]) fs.mkdirSync(each);

  const primary = new Primary(file, address, path.join(root, "said"));
  await primary.hasBegun();
  const { child, inStep } = follower(address, standby);
  const ended = once(child, "exit");
  if (!random.oneIn(8)) await inStep;
  const isEarlier = random.oneIn(2);
  await delay(random.below(500));
  if (isEarlier) primary.copy(kept, machine);
  await delay(random.below(800));
  const killed = performance.now();
  await primary.kill();
  if (isEarlier) fs.rmSync(machine, { recursive: true });
  else fs.renameSync(machine, `${machine}-gone`);
  child.kill(random.oneIn(2) ? "SIGKILL" : "SIGTERM");
  await ended;

  const log = await NatsLog.open(address, soon());
  try {
    const isThere = fs.existsSync(standby);
    if (!isThere) await restoreStream(log, standby);
    await promote(log, standby);
    const db = new DatabaseSync(standby, { replicas: [address], checkpointBytes: 100_000 });
    const { acknowledged } = primary;
    const found = db.prepare("SELECT n FROM t ORDER BY n").all();
    assert.deepEqual(
      found.map(({ n }) => Number(n)),
      Array.from({ length: found.length }, (_, i) => i + 1),
      "each row once",
    );
    assert.ok(found.length >= acknowledged, `${found.length} of ${acknowledged} are there`);
    assert.ok(found.length <= acknowledged + 1, "one commit was under way at most");
    const insert = db.prepare("INSERT INTO t VALUES(?, randomblob(3000))");
    let last = found.length;
    insert.run(++last);
    const awayMs = performance.now() - killed;
    for (const end = last + random.between(1, 60); last < end; ) insert.run(++last);

    if (isEarlier) fs.renameSync(kept, machine);
    else fs.renameSync(`${machine}-gone`, machine);
    const comesBack = (): unknown => new DatabaseSync(file, { replicas: [address] });
    assert.throws(comesBack, { code: "ERR_LOCKSTEP_FENCED" });
    insert.run(++last);
    db.close();
    assert.throws(comesBack, { code: "ERR_LOCKSTEP_FENCED" });

    const second = path.join(root, "second.db");
    await follow(log, second, { once: true });
    await equal(standby, second);
    for (const stream of [streamName(name), bucketStream(name)]) {
      await log.link.jsm.streams.delete(stream).catch(() => {}); // it only takes room
    }
    return {
      ...{ acknowledged, besides: found.length - acknowledged, awayMs },
      standby: isThere ? "followed" : "restored",
      old: isEarlier ? "of an earlier instant" : "as it was when killed",
    };
  } finally {
    await log.close();
  }
}

function told(all: readonly Did[]): object {
  const count = (is: (did: Did) => boolean): number => all.filter(is).length;
  const away = all.map(({ awayMs }) => Math.round(awayMs)).sort((a, b) => a - b);
  return {
    runs: all.length,
    acknowledged: all.reduce((sum, did) => sum + did.acknowledged, 0),
    lost: 0,
    committedUnsaid: count((did) => did.besides > 0),
    restoredFirst: count((did) => did.standby === "restored"),
    oldAsKilled: count((did) => did.old === "as it was when killed"),
    oldOfEarlier: count((did) => did.old === "of an earlier instant"),
    refused: all.length,
    awayMs: { median: away[away.length >> 1], longest: away.at(-1) },
  };
}

const reason = withoutNats();
if (reason) throw new Error(reason);
const ends: (() => unknown)[] = [];
const root = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-failover-"));
try {
  const cluster = await startNats({ after: (end) => void ends.push(end as () => unknown) });
  const all: Did[] = [];
  let next = from;
  const job = async (): Promise<void> => {
    while (next < from + runs) {
      const index = next++;
      const directory = path.join(root, `${index}`);
      fs.mkdirSync(directory);
      try {
        all.push(await run(cluster, index, directory));
      } catch (error) {
        next = Number.POSITIVE_INFINITY;
        console.error(`run ${index} of seed ${seed}: --seed ${seed} --from ${index} --runs 1`);
        throw error;
      }
      fs.rmSync(directory, { recursive: true });
      if (all.length % 20 === 0) console.log(JSON.stringify(told(all)));
    }
  };
  const jobs = await Promise.allSettled(Array.from({ length: Number(values.jobs) }, job));
  for (const each of jobs) if (each.status === "rejected") throw each.reason;
  console.log(JSON.stringify({ seed, from, ...told(all) }));
} finally {
  for (const each of ends) await each();
  fs.rmSync(root, { recursive: true, force: true });
}
