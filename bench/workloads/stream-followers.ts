/**
 * What followers cost the primary: a commit's latency while `lockstep follow` processes keep copies of a stream on three NATS
 * servers, by their number; 50 commits a second, and as many as there can be.
 *
 * The followers run on this machine, so they take its processors and its disk from the primary and the servers: what
 * they cost here is more than what they cost where each has a machine of its own. How long the slowest
 * needs after the last commit until its copy holds it is measured, too.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Plain from "better-sqlite3";
import { figuresOf, ledger, open, warmUp } from "../ledger.ts";
import { Servers } from "../streams.ts";
import type { Figures, Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Commit latency by number of followers",
  axis: { label: "followers", values: ({ quick }) => (quick ? [0, 1] : [0, 1, 4, 8]) },
  ways: { paced: "50 commits a second", flat: "one commit after the other" },
  figures: { p50: "µs", p99: "µs", perSecond: "1/s", behind: "ms", "of the processors": "%" },
  charts: [{ name: "p50", title: "Commit latency by number of followers, p50", figures: ["p50"] }],
  rounds: ({ rounds }) => Math.min(rounds, 2),
  async trial({ way, x, directory, scale }) {
    const servers = await Servers.start(directory);
    const url = await servers.make("bench");
    const opened = open("lockstep", directory, { addresses: [url] });
    const commit = ledger(opened);
    let next = warmUp(opened, commit);
    const paths = Array.from({ length: x }, (_, i) => join(directory, `follower-${i}.db`));
    const followers = await Promise.all(paths.map((path) => follow(url, path)));
    const seconds = scale.quick ? 1 : 5;
    const busy = servers.processor;
    const began = performance.now();
    const micros: number[] = [];
    while (performance.now() - began < 1000 * seconds) {
      const before = performance.now();
      commit(next++);
      micros.push((performance.now() - before) * 1000);
      if (way === "paced") sleep(before + 20 - performance.now());
    }
    const used = (servers.processor - busy) / ((performance.now() - began) / 1000);
    const behind = allHave(paths, opened.databases[0]!);
    for (const each of followers) each.kill("SIGTERM");
    await Promise.all(followers.map((each) => each.exitCode ?? once(each, "exit")));
    opened.close();
    await servers.stop();
    const figures: Figures = {
      ...figuresOf(Float64Array.from(micros)),
      "of the processors": 100 * used,
    };
    return { ...figures, perSecond: micros.length / seconds, behind };
  },
};

/** Resolves when it is in step. */
async function follow(url: string, path: string): Promise<ChildProcess> {
  const bin = join(import.meta.dirname, "../../bin/lockstep.cjs");
  const stdio = ["ignore", "pipe", "inherit"] as const;
  const child = spawn(process.execPath, [bin, "follow", "--json", url, path], {
    stdio: [...stdio],
  });
  process.on("exit", () => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  for await (const line of lines) {
    if (line.includes('"in-step"')) {
      child.stdout?.resume();
      return child;
    }
  }
  throw new Error(`lockstep follow has ended before it was in step`);
}

/** How long it takes until all hold what the primary holds, in milliseconds. */
function allHave(paths: readonly string[], primary: Plain.Database): number {
  const last = "SELECT max(id) FROM entry";
  const goal = primary.prepare(last).pluck().get();
  const began = performance.now();
  const readers = paths.map((path) => new Plain(path, { readonly: true }));
  for (const reader of readers) {
    const found = reader.prepare(last).pluck();
    while (found.get() !== goal) {
      if (performance.now() - began > 60_000) throw new Error("A follower stays behind");
      sleep(1);
    }
  }
  const took = performance.now() - began;
  for (const reader of readers) reader.close();
  return took;
}

const cell = new Int32Array(new SharedArrayBuffer(4));

function sleep(milliseconds: number): void {
  if (milliseconds > 0) Atomics.wait(cell, 0, 0, milliseconds);
}
