/** One life of the pair: a child process writes, and is killed at the moment that was chosen. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Durability } from "../../src/options.ts";
import { patience } from "../support/patience.ts";
import type { ChildJob } from "./child.ts";
import type { Random } from "./random.ts";

/** Kill so long after the child has written this line for the given time. */
export interface Moment {
  readonly line: "opening" | "opened" | "written" | "acknowledged" | "closing";
  readonly occurrence: number;
  readonly delayMs: number;
}

/** At the start, in the load at any instant, right after a commit, in a close. */
export function chooseMoment(random: Random, durability: Durability): Moment {
  const tenths = (limit: number) => random.below(limit * 10) / 10;
  const commitLine = durability === "barrier" ? "written" : "acknowledged";
  return random.pick<() => Moment>([
    () => ({ line: "opening", occurrence: 1, delayMs: tenths(60) }),
    () => ({ line: "opened", occurrence: 1, delayMs: tenths(600) }),
    () => ({ line: "opened", occurrence: 1, delayMs: tenths(600) }),
    () => ({ line: "acknowledged", occurrence: random.between(1, 300), delayMs: tenths(3) }),
    () => ({ line: commitLine, occurrence: random.between(1, 300), delayMs: tenths(3) }),
    () => ({ line: "closing", occurrence: random.between(1, 2), delayMs: tenths(12) }),
  ])();
}

export interface Life {
  /** The highest transaction that the child knew to be safe, null if it never said. */
  readonly acknowledged: number | null;
  /** The highest transaction whose call had returned; with durability `commit` the same. */
  readonly written: number | null;
  /** Ended by itself, with everything closed. */
  readonly closed: boolean;
  /** Why the child ended otherwise than it should; null if all is well. */
  readonly failure: string | null;
}

const patienceMs = 120_000;

export async function live(job: ChildJob, moment: Moment): Promise<Life> {
  const script = join(import.meta.dirname, "child.ts");
  const child = spawn(process.execPath, [script, JSON.stringify(job)], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  let occurrences = 0;
  const kill = () => child.kill("SIGKILL");
  const reports = eachLine(child.stdio[3] as Readable, (line) => {
    lines.push(line);
    if (!line.startsWith(moment.line) || ++occurrences !== moment.occurrence) return;
    sleep(moment.delayMs).then(kill);
  });
  const errors: string[] = [];
  const complaints = eachLine(child.stderr as Readable, (line) => errors.push(line));
  const ended = patience(patienceMs, () => {
    errors.push(`nothing more after ${lines.at(-1)} for ${patienceMs / 1000} s`);
    kill();
  });
  const [[code]] = await Promise.all([once(child, "exit"), reports, complaints]);
  ended();

  const last = (word: RegExp): number | null => {
    const line = lines.findLast((each) => word.test(each));
    return line === undefined ? null : Number(line.split(" ")[1]);
  };
  const hung = errors.at(-1)?.startsWith("nothing more");
  return {
    acknowledged: last(/^(opened|acknowledged) /),
    written: last(/^(opened|acknowledged|written) /),
    closed: code === 0,
    failure: hung || (code !== 0 && code !== null) ? errors.join("\n") : null,
  };
}

/** Resolves at the stream's end; half a line at the end, left by a kill, is dropped. */
async function eachLine(stream: Readable, use: (line: string) => void): Promise<void> {
  let text = "";
  stream.setEncoding("utf8").on("data", (piece: string) => {
    const lines = (text + piece).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) use(line);
  });
  await once(stream, "end");
}
