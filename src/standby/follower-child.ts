/** The process that follower.ts starts: follows a stream until its standard input ends. */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { LockstepError, toErrorData } from "../errors.ts";
import { Keys, loadKeys } from "../stream/keys.ts";
import { openStream } from "../stream/open.ts";
import { type FollowStatus, follow } from "./follow.ts";
import type { FollowerSays, FollowerTask } from "./follower.ts";

/** How often it says how far it is, in milliseconds. */
const TELL_MS = 100;

const stop = new AbortController();
const say = (what: FollowerSays): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
process.stdout.on("error", () => stop.abort()); // nobody is left who listens
// A terminal and a supervisor tell all processes to end: this one ends when the one that it works for does.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {});
const input = createInterface({ input: process.stdin });
input.on("close", () => stop.abort());
const [line] = await once(input, "line");
try {
  await work(JSON.parse(line) as FollowerTask);
} catch (error) {
  if (error instanceof LockstepError) say({ refusal: toErrorData(error) });
  else if (!stop.signal.aborted) {
    const { message, code } = error as NodeJS.ErrnoException;
    say({ error: { message, code: code ?? null } });
  }
}
input.close();
process.stdin.destroy();

async function work({ stream, dest, keys: given, force }: FollowerTask): Promise<void> {
  const { signal } = stop;
  const keys = await keysOf(given);
  const { log, keys: named } = await openStream(stream, signal);
  try {
    await follow(log, dest, {
      ...{ keys: keys ?? named, force, signal },
      onProgress: seldom((progress) => say({ progress })),
      onInStep: (inStep) => say({ inStep }),
      onStatus: seldom((status: FollowStatus) => say({ status })),
    });
  } finally {
    await log.close();
  }
}

async function keysOf(given: FollowerTask["keys"]): Promise<Keys | null> {
  if (given === null) return null;
  return "text" in given
    ? Keys.parse(given.text, "the function `keys`")
    : await loadKeys(given.source);
}

/** What is not told is told a second later: follow.ts says again and again how it stands. */
function seldom<T>(tell: (what: T) => void): (what: T) => void {
  let told = Number.NEGATIVE_INFINITY;
  return (what) => {
    const now = performance.now();
    if (now - told < TELL_MS) return;
    told = now;
    tell(what);
  };
}
